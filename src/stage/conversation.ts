import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { ConversationLog, type ClientEvent, type ConversationReport } from './conversation-log.js';
import { LEDGER_PORT } from './ledger-line.js';
import type { Namespace } from './namespace.js';
import { nowMs } from './wall-clock.js';

const PROGRAM = join(import.meta.dirname, 'client-program.js');

export interface ConversationOptions {
  readonly address: string;
  readonly intervalMs?: number;
  /** One message of so many is a write. */
  readonly writeEvery?: number;
}

const DEFAULT_INTERVAL_MS = 10;
const DEFAULT_WRITE_EVERY = 5;
const CONNECT_TIMEOUT_MS = 30_000;

/** Bounds a failure: a guest under emulation that has to catch up. */
const ANSWER_TIMEOUT_MS = 60_000;

/** A client's one long connection with the ledger of a guest: the client's end of the truth. */
export class Conversation {
  readonly #child: ChildProcess;
  readonly #log = new ConversationLog();
  #closed = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Connects from this machine. Errors: `KEMARI_STAGE` when the guest does not accept in time. */
  static async start(client: Namespace, options: ConversationOptions): Promise<Conversation> {
    const { address, intervalMs = DEFAULT_INTERVAL_MS, writeEvery = DEFAULT_WRITE_EVERY } = options;
    const numbers = [LEDGER_PORT, intervalMs, writeEvery].map(String);
    const [program, ...args] = client.command([process.execPath, PROGRAM, address, ...numbers]);
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const conversation = new Conversation(child);
    createInterface({ input: child.stdout }).on('line', (line) => {
      conversation.#log.hear(JSON.parse(line) as ClientEvent);
    });
    child.once('exit', () => {
      conversation.#closed = true;
    });
    const log = conversation.#log;
    const settled = (): boolean => log.connected || conversation.#closed;
    if ((await waitUntil(settled, { timeoutMs: CONNECT_TIMEOUT_MS })) && log.connected) return conversation;
    child.kill('SIGKILL');
    throw new KemariError(
      'KEMARI_STAGE',
      `the client cannot connect to ${address}:${LEDGER_PORT}: ${log.broken ?? 'nobody answers'}`,
    );
  }

  get answered(): number {
    return this.#log.answeredAtMs.length;
  }

  /** Waits until `more` further messages were answered. Errors: `KEMARI_STAGE` when the guest does not in time. */
  async untilAnswered(more: number, timeoutMs = ANSWER_TIMEOUT_MS): Promise<void> {
    const wanted = this.answered + more;
    if (await waitUntil(() => this.#closed || this.answered >= wanted, { timeoutMs })) {
      if (this.answered >= wanted) return;
    }
    const why = this.#log.broken ?? (this.#closed ? 'the connection is closed' : `not within ${timeoutMs} ms`);
    throw new KemariError('KEMARI_STAGE', `the guest answered ${this.answered} messages, ${wanted} expected: ${why}`);
  }

  /** When the first answer after this time came; undefined when none did yet. */
  firstAnswerAfter(atMs: number): number | undefined {
    return this.#log.answeredAtMs.find((answeredAtMs) => answeredAtMs > atMs);
  }

  /** The longest time from one answer to the next between these times, or to now. */
  longestGapMs(fromMs = 0, toMs = Infinity): number {
    return this.#log.longestGapMs(fromMs, toMs, this.#closed ? [] : [nowMs()]);
  }

  /** Sends no more, waits for the answers that are due (and no longer than `timeoutMs`), and closes the connection. */
  async stop(timeoutMs = ANSWER_TIMEOUT_MS): Promise<ConversationReport> {
    const longestGapMs = this.longestGapMs();
    this.#child.stdin?.end();
    if (!(await waitUntil(() => this.#closed, { timeoutMs }))) {
      this.#log.broke(`messages stay without an answer for ${timeoutMs} ms`);
      await this.kill();
    }
    return this.#log.report(longestGapMs);
  }

  /** Ends the client at once. Idempotent. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
