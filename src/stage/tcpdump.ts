import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { HostName } from './names.js';
import type { Namespace } from './namespace.js';
import { PcapReader, type CapturedFrame } from './pcap.js';

const START_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 10_000;

export interface TcpdumpOptions {
  /** So much of each frame is seen. */
  readonly snapBytes: number;
  /** What the kernel keeps for a reader that is late. */
  readonly bufferKib: number;
  /** So much of each packet is told. */
  readonly headBytes: number;
  /** pcap-filter(7). */
  readonly filter: string;
}

/** tcpdump(8) in a namespace, on all of its interfaces. */
export class Tcpdump {
  readonly #child: ChildProcess;
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Returns when every frame from now on is seen. Errors: `KEMARI_STAGE`. */
  static async start(
    network: Namespace,
    { snapBytes, bufferKib, headBytes, filter }: TcpdumpOptions,
    onFrame: (frame: CapturedFrame) => void,
  ): Promise<Tcpdump> {
    const options = ['-i', 'any', '-y', 'LINUX_SLL2', '--immediate-mode', '-U', '-n', '-Z', 'root'];
    const size = ['-s', String(snapBytes), '-B', String(bufferKib), '--time-stamp-precision=nano', '-w', '-'];
    const [program, ...args] = network.command(['tcpdump', ...options, ...size, filter]);
    // A group of its own: the terminal's Ctrl-C is for whoever started this.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const tcpdump = new Tcpdump(child);
    const reader = new PcapReader(onFrame, headBytes);
    child.stdout.on('data', (bytes: Buffer) => {
      reader.push(bytes);
    });
    child.stderr.on('data', (bytes: Buffer) => {
      tcpdump.#said += bytes.toString();
    });
    child.once('error', (error) => {
      tcpdump.#said += error.message;
    });
    const listens = (): boolean => tcpdump.#said.includes('listening on') || tcpdump.#ended;
    if ((await waitUntil(listens, { timeoutMs: START_TIMEOUT_MS })) && !tcpdump.#ended) return tcpdump;
    child.kill('SIGKILL');
    throw new KemariError('KEMARI_STAGE', `tcpdump does not start: ${tcpdump.#said.trim()}`);
  }

  /** Returns how many frames the kernel could not hand over. */
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

/** Which port of a machine leads to which host, by the number of its interface. */
export async function portsOf(network: Namespace, hosts: readonly HostName[]): Promise<ReadonlyMap<number, HostName>> {
  const links = JSON.parse(await network.run(['ip', '-json', 'link', 'show'])) as { ifindex: number; ifname: string }[];
  return new Map(
    links.flatMap(({ ifindex, ifname }) => {
      const host = hosts.find((name) => name === ifname);
      return host === undefined ? [] : [[ifindex, host] as const];
    }),
  );
}
