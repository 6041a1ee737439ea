import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { waitUntil } from '../../../src/base/deadline.js';
import type { Namespace } from '../../../src/stage/namespace.js';
import { GUEST_ADDRESS } from '../../../src/stage/staged-guest.js';
import type { EchoCounts } from './echoes.js';

const PROGRAM = join(import.meta.dirname, 'traffic-program.js');
const UDP_PORT = 7001;
const TCP_PORT = 7002;
const STOP_TIMEOUT_MS = 60_000;

interface Arrivals {
  readonly arrivalsMs: readonly number[];
}

/** What the program at the client says. Times are milliseconds of Unix time. */
export type TrafficEvent =
  | { readonly event: 'progress'; readonly datagrams: number; readonly pings: number; readonly stream: number }
  | {
      readonly event: 'report';
      readonly datagrams: EchoCounts & Arrivals;
      readonly pings: EchoCounts & Arrivals;
      readonly stream: { readonly sent: number; readonly broken?: string | undefined } & Arrivals;
    };

/** What one kind of traffic came to. `waitMs`: from one arrival to the next, at most. */
export interface TrafficFigures extends Omit<EchoCounts, 'strange'> {
  readonly traffic: 'datagrams' | 'pings' | 'stream';
  readonly waitMs: number;
}

export interface TrafficReport {
  readonly figures: readonly TrafficFigures[];
  /** What is wrong; empty where nothing is. Datagrams and pings may be lost or doubled, as on any network. */
  readonly faults: readonly string[];
}

/** Traffic of a client with the guest that is there all the time: pings, datagrams, and a stream of blocks each way. */
export class TrafficLoad {
  readonly #child: ChildProcess;
  #said = '';
  #ended = false;
  #progress = { datagrams: 0, pings: 0, stream: 0 };
  #report: (TrafficEvent & { event: 'report' }) | undefined;

  constructor(client: Namespace) {
    const ports = [UDP_PORT, TCP_PORT].map(String);
    const [program, ...args] = client.command([process.execPath, PROGRAM, GUEST_ADDRESS, ...ports]);
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as TrafficEvent;
      if (event.event === 'report') this.#report = event;
      else this.#progress = event;
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    this.#child.once('close', () => {
      this.#ended = true;
    });
  }

  /** How many answers each kind has had, the least of them. */
  get answered(): number {
    const { datagrams, pings, stream } = this.#progress;
    return Math.min(datagrams, pings, stream);
  }

  /** Lets what is under way come to its end. `fromMs`: from when on waits count. */
  async stop(fromMs: number): Promise<TrafficReport> {
    this.#child.stdin?.end();
    if (!(await waitUntil(() => this.#ended, { timeoutMs: STOP_TIMEOUT_MS }))) await this.kill();
    const report = this.#report;
    if (report === undefined) return { figures: [], faults: [`the traffic did not end: ${this.#said.trim()}`] };
    const { datagrams, pings, stream } = report;
    const faults = [];
    if (stream.broken !== undefined) faults.push(`the stream of blocks: ${stream.broken}`);
    for (const [what, { strange }] of Object.entries({ datagrams, pings })) {
      if (strange > 0) faults.push(`${strange} answers to ${what} that nobody sent`);
    }
    const figures = [
      figuresOf('datagrams', datagrams, fromMs),
      figuresOf('pings', pings, fromMs),
      figuresOf('stream', { ...stream, lost: 0, late: 0, doubled: 0, strange: 0 }, fromMs),
    ];
    return { figures, faults };
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await waitUntil(() => this.#ended, { timeoutMs: STOP_TIMEOUT_MS });
  }
}

function figuresOf(traffic: TrafficFigures['traffic'], counts: EchoCounts & Arrivals, fromMs: number): TrafficFigures {
  const { sent, lost, late, doubled, arrivalsMs } = counts;
  const times = arrivalsMs.filter((atMs) => atMs >= fromMs);
  const waitMs = times.reduce((longest, atMs, index) => Math.max(longest, atMs - (times[index - 1] ?? atMs)), 0);
  return { traffic, sent, lost, late, doubled, waitMs };
}
