import type { HostInstance } from '../model/host-instance.js';

/** A process of a domain on another host, of which is asked whether it runs. */
export interface PeerQuestion {
  readonly domainUuid: string;
  readonly instance: HostInstance;
  readonly generation: number;
}

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** What one address answered. */
export type PathAnswer =
  { readonly answer: 'runs' | 'gone' } | { readonly answer: 'unreachable'; readonly reason: string };

/** What is known after all addresses were asked, and how. */
export interface PeerFinding {
  readonly answer: 'runs' | 'gone' | 'unreachable';
  /** For the log: what each path said. */
  readonly text: string;
}

/** How a fence ended. Only `ok` is proof. */
export interface FenceOutcome {
  readonly ok: boolean;
  /** What it printed and how it ended, for people. */
  readonly text: string;
}

/** What a fence command is told, as environment variables. */
export interface FenceTarget {
  readonly domainName: string;
  readonly domainUuid: string;
  readonly hostId: string;
  readonly addresses: readonly PeerAddress[];
}
