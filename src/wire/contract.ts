import type { DiskIdentity } from '../model/disk-identity.js';
import type { DomainConfig } from '../model/domain-config.js';
import type { HostInstance } from '../model/host-instance.js';
import type { MachineDescription } from '../model/machine-description.js';
import type { DiskGeometry } from '../native/ring.js';

/** Of the whole protocol: preamble, handshake, records, words. Both sides must speak the same. */
export const PROTOCOL_VERSION = 5;

export { DEFAULT_PORT } from '../model/port.js';

/** Where a kemarid listens. */
export interface PeerAddress {
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
}

/** `plain` only where the operator said so. */
export type Security = { readonly kind: 'psk'; readonly key: Buffer } | { readonly kind: 'plain' };

/** What a primary says of the domain that it wants protected, or moved. */
export interface Offer {
  /** For people and for refusals; what must be equal is compared by itself. */
  readonly kemariVersion: string;
  /** `move`: the guest only changes its host; a standby that loses the link before `go` forgets it. */
  readonly purpose: 'protect' | 'move';
  readonly config: DomainConfig;
  /** Milliseconds since the epoch of Unix time. */
  readonly createdAtMs: number;
  readonly machine: MachineDescription;
  /** What the standby's hypervisor needs beside `config` to have a machine wait: its own bytes, base64. */
  readonly blueprint: string | null;
  /** SHA-256, hexadecimal: the guest may reboot on the other host. `null` where the domain boots without. */
  readonly bootFiles: { readonly kernel: string | null; readonly ramdisk: string | null };
  /** In the order of `config.disks`. */
  readonly disks: readonly DiskIdentity[];
  /** In the order of `config.disks`: what the standby's disk tells its guest before it may be opened. */
  readonly diskGeometry: readonly DiskGeometry[];
  /** Ownership: how often the guest has changed its host. */
  readonly generation: number;
  /** The domain's kemari-dm. */
  readonly instance: HostInstance;
  /** Under which the primary's kemarid can be asked: every address of that host. */
  readonly addresses: readonly PeerAddress[];
  /** How it is protected, in words, for `info` on the standby. */
  readonly policy: string;
  /** `auto` is refused by a kemarid that has no fence. */
  readonly failover: 'manual' | 'auto';
  /** What the primary does when it hears nothing. */
  readonly onSilence: 'hold' | 'continue';
  /** Milliseconds of silence after which the standby may act; longer than the lease. */
  readonly takeoverTimeoutMs: number;
  /** For how long an answered renewal of the lease counts, from the moment it was sent. */
  readonly leaseMs: number;
}

/** What a standby answers when everything fits. */
export interface Accept {
  /** Names this protection on the stream and lease connections, once each: 16 bytes, hexadecimal. */
  readonly token: string;
  readonly kemariVersion: string;
  /** The standby host's name, for people. */
  readonly hostName: string;
  /** The restore process, which is the domain's kemari-dm after a takeover. */
  readonly instance: HostInstance;
  readonly addresses: readonly PeerAddress[];
}

export interface ConnectOptions {
  readonly address: PeerAddress;
  readonly security: Security;
  readonly offer: Offer;
  /** What the standby is doing, in words: "starting QEMU". */
  readonly onProgress?: (text: string) => void;
  /** Ends the attempt with `KEMARI_INTERRUPTED`. */
  readonly signal?: AbortSignal;
}

/** An accepted protection. The descriptors are connected TCP sockets, preamble sent, nothing read; the caller's to close. */
export interface StandbyConnection {
  readonly streamFd: number;
  readonly leaseFd: number;
  readonly standby: Accept;
}

/**
 * Asks a kemarid to stand by and connects stream and lease (src/wire/connect.ts).
 *
 * Errors: whatever the standby refuses with (`KEMARI_HANDSHAKE_...`, and what a `create` there would); `KEMARI_PEER_CONNECT`
 * (nobody listens), `KEMARI_PEER_KEY` (no or another key), `KEMARI_PEER_PROTOCOL`, `KEMARI_PEER_TIMEOUT`, `KEMARI_INTERRUPTED`.
 */
export type ConnectStandby = (options: ConnectOptions) => Promise<StandbyConnection>;

/** The question whether a process runs, asked of its host's kemarid. */
export interface PeerQuestion {
  readonly domainUuid: string;
  readonly instance: HostInstance;
  /** Of the offer: a host whose guest has gone on since without the asker does not say `gone`. */
  readonly generation: number;
}

/** `unreachable`: nobody answered, or somebody who cannot know. */
export type QueryAnswer =
  { readonly answer: 'runs' | 'gone' } | { readonly answer: 'unreachable'; readonly reason: string };

/** Asks one kemarid (src/wire/query.ts). Never throws: whoever cannot answer is `unreachable`. */
export type QueryPeer = (options: {
  readonly address: PeerAddress;
  readonly security: Security;
  readonly question: PeerQuestion;
  readonly timeoutMs: number;
}) => Promise<QueryAnswer>;
