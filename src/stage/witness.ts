import { HOST_NAMES, type HostName } from './names.js';
import type { Namespace } from './namespace.js';
import { portsOf, Tcpdump } from './tcpdump.js';

/** Enough of each frame for an ARP packet. */
const SNAP_BYTES = 96;
const BUFFER_KIB = 4096;

/** Enough of a packet to tell it from any other: its headers, with their numbers. */
const HEAD_BYTES = 44;

/** A frame that the switch of the client network got from a host. */
export interface WitnessedFrame {
  /** When it came into the switch, by the kernel's clock: milliseconds of Unix time. */
  readonly atMs: number;
  readonly host: HostName;
  readonly sourceMac: string;
  readonly announcement: boolean;
  readonly etherType: number;
  /** How its packet begins. */
  readonly head: Buffer;
}

/** A time in which one host alone spoke for a station. */
export interface Turn {
  readonly host: HostName;
  readonly fromMs: number;
  readonly toMs: number;
  readonly frames: number;
}

/** Looks at the switch of the client network: which host speaks for which station, and when. */
export class Witness {
  readonly #frames: WitnessedFrame[] = [];
  #tcpdump: Tcpdump | undefined;

  /** Returns when every frame from now on is seen. Errors: `KEMARI_STAGE`. */
  static async start(network: Namespace): Promise<Witness> {
    const witness = new Witness();
    const ports = await portsOf(network, HOST_NAMES);
    const options = { snapBytes: SNAP_BYTES, bufferKib: BUFFER_KIB, headBytes: HEAD_BYTES, filter: 'inbound' };
    witness.#tcpdump = await Tcpdump.start(network, options, ({ interfaceIndex, ...frame }) => {
      const host = ports.get(interfaceIndex);
      if (host !== undefined) witness.#frames.push({ ...frame, host });
    });
    return witness;
  }

  /** The station's frames, announcements of it apart, that came after a time. */
  framesOf(mac: string, afterMs = 0): WitnessedFrame[] {
    return this.#frames.filter((frame) => frame.sourceMac === mac && !frame.announcement && frame.atMs > afterMs);
  }

  /** When hosts told the network where the station is. */
  announcementsOf(mac: string, afterMs = 0): WitnessedFrame[] {
    return this.#frames.filter((frame) => frame.sourceMac === mac && frame.announcement && frame.atMs > afterMs);
  }

  /** Who spoke for a station, one turn after another: two hosts that speak at a time have many. */
  turnsOf(mac: string): Turn[] {
    const turns: Turn[] = [];
    for (const { host, atMs } of this.framesOf(mac)) {
      const last = turns.at(-1);
      if (last?.host === host) turns[turns.length - 1] = { ...last, toMs: atMs, frames: last.frames + 1 };
      else turns.push({ host, fromMs: atMs, toMs: atMs, frames: 1 });
    }
    return turns;
  }

  /** Stops looking; what was seen stays. Returns how many frames the kernel could not hand over: 0, or the rest proves less. */
  async stop(): Promise<number> {
    return (await this.#tcpdump?.stop()) ?? Number.NaN;
  }
}
