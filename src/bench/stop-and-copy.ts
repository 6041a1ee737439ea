import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { HOST_ADDRESSES } from '../stage/topology.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import type { PeerMachine } from './peer-machine.js';
import type { Undo } from './undo.js';

/** How long the guest runs between two checkpoints, as Remus' default. */
const INTERVAL_MS = 100;
const PORT = 9997;
const COPY_TIMEOUT_MS = 120_000;
/** Bytes a second: no bound of QEMU's own. */
const UNBOUNDED = 2 ** 40;

/** Takes what it is sent and drops it: a standby that costs nothing. Prints a byte once it listens. */
const SINK = `require('node:net').createServer((socket) => socket.resume().on('error', () => 0))
  .listen(${PORT}, () => process.stdout.write('.'))`;

/**
 * Checkpoints of a guest by QEMU's own migration, the naive way: stop, send everything, go on. Nothing is held back for them
 * and nobody keeps them, so that this is the least that they cost.
 */
export class StopAndCopy {
  readonly #machine: PeerMachine;
  #loop: Promise<void> | undefined;
  #stop = new AbortController();

  private constructor(machine: PeerMachine) {
    this.#machine = machine;
  }

  static async prepare(machine: PeerMachine, stage: TwoHosts, undo: Undo): Promise<StopAndCopy> {
    const [program, ...args] = stage.machines.B.command([process.execPath, '-e', SINK]);
    const sink = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    undo.defer('the sink of stop-and-copy', () => sink.kill('SIGKILL'));
    await once(sink.stdout, 'data');
    await machine.execute('migrate-set-parameters', { 'max-bandwidth': UNBOUNDED });
    return new StopAndCopy(machine);
  }

  start(): void {
    this.#stop = new AbortController();
    this.#loop = this.#run(this.#stop.signal);
    this.#loop.catch(() => undefined); // told by end()
  }

  /** The guest runs when this resolves. Errors: what kept a checkpoint from being taken. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#loop = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#machine.pause();
      await this.#machine.execute('migrate', { uri: `tcp:${HOST_ADDRESSES.B.sync}:${PORT}` });
      if (!(await waitUntil(() => this.#isCopied(), { timeoutMs: COPY_TIMEOUT_MS, everyMs: 2 }))) {
        throw new KemariError('KEMARI_BENCH_QEMU', `QEMU has not sent its state after ${COPY_TIMEOUT_MS} ms`);
      }
      await this.#machine.resume();
      await delay(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #isCopied(): Promise<boolean> {
    const { status, 'error-desc': error } = (await this.#machine.execute('query-migrate')) as Record<string, string>;
    if (status === 'failed')
      throw new KemariError('KEMARI_BENCH_QEMU', `QEMU could not send its state: ${error ?? ''}`);
    return status === 'completed';
  }
}
