import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { waitUntil } from '../../../src/base/deadline.js';
import type { Namespace } from '../../../src/stage/namespace.js';
import { GUEST_ADDRESS } from '../../../src/stage/staged-guest.js';
import { nowMs } from '../../../src/stage/wall-clock.js';
import { checkKey, type Operation } from './linearizability.js';

const PROGRAM = join(import.meta.dirname, 'key-value-program.js');
const CLIENTS = 3;
const STOP_TIMEOUT_MS = 60_000;

export interface KeyedOperation {
  readonly key: string;
  readonly operation: Operation;
}

export interface KeyValueReport {
  readonly answered: number;
  /** What is wrong; empty where nothing is. */
  readonly faults: readonly string[];
}

/** Concurrent clients of the guest's Redis (appendfsync always) on keys that they share. */
export class KeyValueLoad {
  readonly #child: ChildProcess;
  readonly #history: KeyedOperation[] = [];
  #said = '';
  #ended = false;
  #gaveUp = false;

  constructor(client: Namespace, prefix: string, seed: number) {
    const [program, ...args] = client.command([
      process.execPath,
      PROGRAM,
      GUEST_ADDRESS,
      String(CLIENTS),
      prefix,
      String(seed),
    ]);
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.#history.push(JSON.parse(line) as KeyedOperation);
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    this.#child.once('close', () => {
      this.#ended = true;
    });
  }

  get answered(): number {
    return this.#history.filter(({ operation }) => operation.answeredAtMs !== undefined).length;
  }

  /** The guest has lost its connections: whatever is under way never gets an answer. What that breaks is no fault. */
  async giveUp(): Promise<void> {
    this.#gaveUp = true;
    this.#child.kill('SIGTERM');
    await waitUntil(() => this.#ended, { timeoutMs: STOP_TIMEOUT_MS });
  }

  /** The keys that it used. */
  get keys(): string[] {
    return [...new Set(this.#history.map(({ key }) => key))];
  }

  /** What somebody reads of a key after everything that was done so far. */
  noteRead(key: string, result: number | null): void {
    const atMs = nowMs();
    this.#history.push({ key, operation: { kind: 'get', calledAtMs: atMs, answeredAtMs: atMs, result } });
  }

  /** Waits for what is under way, closes the connections and checks the history, key by key. */
  async stop(): Promise<KeyValueReport> {
    this.#child.stdin?.end();
    const faults: string[] = [];
    if (!(await waitUntil(() => this.#ended, { timeoutMs: STOP_TIMEOUT_MS }))) {
      faults.push('Redis does not answer any more');
      await this.kill();
    }
    if (this.#said !== '' && !this.#gaveUp) faults.push(this.#said.trim());
    const unanswered = this.#history.length - this.answered;
    if (unanswered > 0 && !this.#gaveUp)
      faults.push(`${unanswered} operations never got an answer: their connections broke`);
    for (const key of this.keys) {
      const operations = this.#history.filter((one) => one.key === key).map(({ operation }) => operation);
      const verdict = checkKey(operations);
      if (verdict !== 'linearizable') faults.push(`${key}: ${operations.length} operations are ${verdict}`);
    }
    if (this.answered === 0) faults.push('Redis never answered');
    return { answered: this.answered, faults };
  }

  get history(): readonly KeyedOperation[] {
    return this.#history;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await waitUntil(() => this.#ended, { timeoutMs: STOP_TIMEOUT_MS });
  }
}
