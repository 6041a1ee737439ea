import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { execa } from 'execa';
import { waitUntil } from '../base/deadline.js';
import { KemariError, messageOf } from '../base/errors.js';
import { foldStacks, type Stacks } from './folded-stacks.js';

/** Samples a second of each processor's time: no multiple of what timers do. */
const RATE_HZ = 199;
/** Of a thread's stack, that is kept to find its callers: few programs are built with frame pointers. */
const STACK_BYTES = 8192;
const START_TIMEOUT_MS = 20_000;
const MOST_OUTPUT_BYTES = 512 << 20;

/** What is to be looked at: its name for people, and its process. */
export type Profiled = Readonly<Record<string, number>>;

/** perf(1) at work: where the processor's time goes in some processes, all of their threads. */
export class Profiler {
  readonly #perf: ChildProcess;
  readonly #file: string;
  readonly #processes: Profiled;
  #said = '';

  private constructor(perf: ChildProcess, file: string, processes: Profiled) {
    this.#perf = perf;
    this.#file = file;
    this.#processes = processes;
    perf.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
  }

  /** Resolves when samples are taken. `file`: for its samples, until they were read. Errors: `KEMARI_BENCH_PROFILE`. */
  static async start(file: string, processes: Profiled): Promise<Profiler> {
    const events = ['-e', 'cpu-clock', '-F', String(RATE_HZ), '--call-graph', `dwarf,${STACK_BYTES}`];
    const control = ['--control', 'fd:3,4', '-D', '-1'];
    const args = ['record', ...events, ...control, '-p', Object.values(processes).join(','), '-o', file];
    const perf = spawn('perf', args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
    const profiler = new Profiler(perf, file, processes);
    await profiler.#enable();
    return profiler;
  }
  /** perf says when it has attached to all threads, so that nothing of the beginning is missing. */
  async #enable(): Promise<void> {
    const [, , , orders, answers] = this.#perf.stdio;
    let answered = '';
    answers?.on('data', (chunk: Buffer) => (answered += chunk.toString('latin1')));
    for (const pipe of [orders, answers]) pipe?.on('error', () => undefined); // it ends with perf
    const failed = new Promise<never>((_, reject) => {
      this.#perf.once('error', (cause) => {
        reject(unusable(messageOf(cause), cause));
      });
    });
    if (orders !== null && orders !== undefined && 'write' in orders) orders.write('enable\n');
    const settled = waitUntil(() => answered.includes('ack') || this.#hasEnded, { timeoutMs: START_TIMEOUT_MS });
    await Promise.race([settled, failed]);
    if (answered.includes('ack')) return;
    this.#perf.kill('SIGKILL');
    throw unusable(this.#said.trim() || `no answer after ${START_TIMEOUT_MS} ms`);
  }

  get #hasEnded(): boolean {
    return this.#perf.exitCode !== null || this.#perf.signalCode !== null;
  }

  /** Ends it. What each process did, by its name. Errors: `KEMARI_BENCH_PROFILE`. */
  async finish(): Promise<ReadonlyMap<string, Stacks>> {
    const exited = this.#hasEnded ? Promise.resolve() : once(this.#perf, 'exit');
    this.#perf.kill('SIGINT');
    await exited;
    const stacks = new Map<string, Stacks>();
    try {
      for (const [name, pid] of Object.entries(this.#processes)) stacks.set(name, await this.#read(pid));
    } finally {
      await rm(this.#file, { force: true });
    }
    return stacks;
  }

  /** Ends it, whatever it found. Idempotent. */
  async abandon(): Promise<void> {
    this.#perf.kill('SIGKILL');
    await rm(this.#file, { force: true });
  }

  async #read(pid: number): Promise<Stacks> {
    const args = ['script', '-i', this.#file, '--pid', String(pid), '-F', 'comm,ip,sym', '--no-inline'];
    try {
      const { stdout } = await execa('perf', args, { stdin: 'ignore', maxBuffer: MOST_OUTPUT_BYTES });
      return foldStacks(stdout);
    } catch (error) {
      throw unusable(`its samples cannot be read: ${messageOf(error).slice(0, 500)}`, error);
    }
  }
}

function unusable(why: string, cause?: unknown): KemariError {
  return new KemariError('KEMARI_BENCH_PROFILE', `perf (Debian's linux-perf) cannot be used: ${why}`, { cause });
}
