import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { HOST_NAMES, type HostName } from './names.js';
import type { Namespace } from './namespace.js';
import { PcapReader } from './pcap.js';

/** Enough of each frame for an ARP packet. */
const SNAP_BYTES = 96;
const BUFFER_KIB = 4096;
const START_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 10_000;

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
  readonly #child: ChildProcess;
  readonly #frames: WitnessedFrame[] = [];
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Returns when every frame from now on is seen. Errors: `KEMARI_STAGE`. */
  static async start(network: Namespace): Promise<Witness> {
    const ports = await portsOf(network);
    const options = ['-i', 'any', '-y', 'LINUX_SLL2', '--immediate-mode', '-U', '-n', '-Z', 'root'];
    const size = ['-s', String(SNAP_BYTES), '-B', String(BUFFER_KIB), '--time-stamp-precision=nano', '-w', '-'];
    const [program, ...args] = network.command(['tcpdump', ...options, ...size, 'inbound']);
    // A group of its own: the terminal's Ctrl-C is for whoever started this.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const witness = new Witness(child);
    const reader = new PcapReader(({ interfaceIndex, ...frame }) => {
      const host = ports.get(interfaceIndex);
      if (host !== undefined) witness.#frames.push({ ...frame, host });
    });
    child.stdout.on('data', (bytes: Buffer) => {
      reader.push(bytes);
    });
    child.stderr.on('data', (bytes: Buffer) => {
      witness.#said += bytes.toString();
    });
    child.once('error', (error) => {
      witness.#said += error.message;
    });
    const listens = (): boolean => witness.#said.includes('listening on') || witness.#ended;
    if ((await waitUntil(listens, { timeoutMs: START_TIMEOUT_MS })) && !witness.#ended) return witness;
    child.kill('SIGKILL');
    throw new KemariError('KEMARI_STAGE', `tcpdump does not start: ${witness.#said.trim()}`);
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
    if (!this.#ended) {
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGINT');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT_MS);
      await closed;
      clearTimeout(timer);
    }
    return Number(/(\d+) packets? dropped by kernel/.exec(this.#said)?.[1] ?? Number.NaN);
  }

  get #ended(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}

/** Which port of the switch leads to which host, by the number of its interface. */
async function portsOf(network: Namespace): Promise<ReadonlyMap<number, HostName>> {
  const links = JSON.parse(await network.run(['ip', '-json', 'link', 'show'])) as { ifindex: number; ifname: string }[];
  return new Map(
    links.flatMap(({ ifindex, ifname }) => {
      const host = HOST_NAMES.find((name) => name === ifname);
      return host === undefined ? [] : [[ifindex, host] as const];
    }),
  );
}
