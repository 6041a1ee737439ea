import { HOST_NAMES, type HostName } from './names.js';
import type { Namespace } from './namespace.js';
import { NbdStream, type NbdChange } from './nbd-stream.js';
import type { CapturedFrame } from './pcap.js';
import { portsOf, Tcpdump } from './tcpdump.js';
import { TcpStream, tcpSegmentOf } from './tcp-stream.js';

/** All of a packet: segments come as large as IPv4 lets the kernel make them. */
const SNAP_BYTES = 66_000;
/** Each packet takes its place of that size: some 2000 may wait for a reader that has no processor. */
const BUFFER_KIB = 131_072;

const FROM_HOSTS = 'inbound and tcp dst port 10809';

/** A change of a disk that storage got from a host, or a flush. */
export interface WitnessedChange extends NbdChange {
  /** When it came to the storage host, by the kernel's clock: milliseconds of Unix time. */
  readonly atMs: number;
  readonly host: HostName;
}

/** Looks at what hosts say to storage, in front of its server; it has to begin before the first connection is made. */
export class StorageWitness {
  readonly changes: WitnessedChange[] = [];
  readonly #connections = new Map<string, TcpStream>();
  #tcpdump: Tcpdump | undefined;
  #unreadable: string | undefined;

  /** Errors: `KEMARI_STAGE`. */
  static async start(storage: Namespace): Promise<StorageWitness> {
    const witness = new StorageWitness();
    const ports = await portsOf(storage, HOST_NAMES);
    const options = { snapBytes: SNAP_BYTES, bufferKib: BUFFER_KIB, headBytes: SNAP_BYTES, filter: FROM_HOSTS };
    witness.#tcpdump = await Tcpdump.start(storage, options, (frame) => {
      const host = ports.get(frame.interfaceIndex);
      if (host !== undefined) witness.#take(host, frame);
    });
    return witness;
  }

  /** Stops looking; what was seen stays. Returns what of it proves less than it should; undefined: nothing. */
  async stop(): Promise<string | undefined> {
    const unseen = await this.#tcpdump?.stop();
    return unseen === 0 ? this.#unreadable : `${unseen} packets on their way to storage were not seen`;
  }

  #take(host: HostName, { atMs, head }: CapturedFrame): void {
    const segment = tcpSegmentOf(head);
    if (segment === undefined) return;
    const name = `${host} ${segment.sourcePort}`;
    if (segment.begins) {
      const stream = new NbdStream((change, at) => this.changes.push({ ...change, atMs: at, host }));
      const tcp = new TcpStream(segment.sequence, (bytes, at) => {
        stream.push(bytes, at);
      });
      this.#connections.set(name, tcp);
    }
    try {
      this.#connections.get(name)?.push(segment, atMs);
    } catch (error) {
      this.#unreadable ??= `host ${host}: ${String(error)}`;
      this.#connections.delete(name);
    }
  }
}
