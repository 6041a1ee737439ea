import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { LEDGER_PORT, type MessageKind } from './ledger-line.js';
import type { Namespace } from './namespace.js';
import { nowMs } from './wall-clock.js';

const PROGRAM = join(import.meta.dirname, 'client-program.js');

/** Times are milliseconds of Unix time. */
export type ClientEvent =
  | { readonly event: 'connected'; readonly atMs: number }
  | {
      readonly event: 'sent';
      readonly number: number;
      readonly kind: MessageKind;
      readonly line: string;
      readonly sentAtMs: number;
    }
  /** In the order of sending, or a `violation` says otherwise. */
  | { readonly event: 'answered'; readonly number: number; readonly receivedAtMs: number }
  /** The guest answered out of order, missed a message, or heard one twice. */
  | { readonly event: 'violation'; readonly text: string }
  | { readonly event: 'broken'; readonly text: string }
  | { readonly event: 'closed'; readonly unanswered: number };

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

/** What one connection came to. */
export interface ConversationReport {
  readonly sent: number;
  readonly answered: number;
  /** Sent, never answered. */
  readonly unanswered: number;
  /** Why the connection ended before it was to; undefined when it did not. */
  readonly broken: string | undefined;
  readonly violations: readonly string[];
  /** Every write's line, in order; those that were answered among them. */
  readonly writes: readonly string[];
  readonly acknowledged: readonly string[];
  /** From one answer to the next, at most. */
  readonly longestGapMs: number;
}

/** A client's one long connection with the ledger of a guest: the client's end of the truth. */
export class Conversation {
  readonly #child: ChildProcess;
  readonly #sent: { readonly kind: MessageKind; readonly line: string; readonly sentAtMs: number }[] = [];
  /** When each message was answered, by number. */
  readonly #answeredAtMs: number[] = [];
  readonly #violations: string[] = [];
  #connected = false;
  #closed = false;
  #broken: string | undefined;

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
      conversation.#hear(JSON.parse(line) as ClientEvent);
    });
    child.once('exit', () => {
      conversation.#closed = true;
    });
    const settled = (): boolean => conversation.#connected || conversation.#closed;
    if ((await waitUntil(settled, { timeoutMs: CONNECT_TIMEOUT_MS })) && conversation.#connected) return conversation;
    child.kill('SIGKILL');
    throw new KemariError(
      'KEMARI_STAGE',
      `the client cannot connect to ${address}:${LEDGER_PORT}: ${conversation.#broken ?? 'nobody answers'}`,
    );
  }

  get answered(): number {
    return this.#answeredAtMs.length;
  }

  /** Waits until `more` further messages were answered. Errors: `KEMARI_STAGE` when the guest does not in time. */
  async untilAnswered(more: number, timeoutMs = ANSWER_TIMEOUT_MS): Promise<void> {
    const wanted = this.answered + more;
    if (await waitUntil(() => this.#closed || this.answered >= wanted, { timeoutMs })) {
      if (this.answered >= wanted) return;
    }
    const why = this.#broken ?? (this.#closed ? 'the connection is closed' : `not within ${timeoutMs} ms`);
    throw new KemariError('KEMARI_STAGE', `the guest answered ${this.answered} messages, ${wanted} expected: ${why}`);
  }

  /** When the first answer after this time came; undefined when none did yet. */
  firstAnswerAfter(atMs: number): number | undefined {
    return this.#answeredAtMs.find((answeredAtMs) => answeredAtMs > atMs);
  }

  /** The longest time from one answer to the next between these times, or to now. */
  longestGapMs(fromMs = 0, toMs = Infinity): number {
    const times = [...this.#answeredAtMs, ...(this.#closed ? [] : [nowMs()])].filter(
      (at) => at >= fromMs && at <= toMs,
    );
    return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? at)), 0);
  }

  /** Sends no more, waits for the answers that are due (and no longer than `timeoutMs`), and closes the connection. */
  async stop(timeoutMs = ANSWER_TIMEOUT_MS): Promise<ConversationReport> {
    const longestGapMs = this.longestGapMs();
    this.#child.stdin?.end();
    if (!(await waitUntil(() => this.#closed, { timeoutMs }))) {
      this.#broken ??= `messages stay without an answer for ${timeoutMs} ms`;
      await this.kill();
    }
    const writes = this.#sent.filter(({ kind }) => kind === 'W').map(({ line }) => line);
    const acknowledged = this.#sent.slice(0, this.answered).filter(({ kind }) => kind === 'W');
    return {
      sent: this.#sent.length,
      answered: this.answered,
      unanswered: this.#sent.length - this.answered,
      broken: this.#broken,
      violations: this.#violations,
      writes,
      acknowledged: acknowledged.map(({ line }) => line),
      longestGapMs,
    };
  }

  /** Ends the client at once. Idempotent. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  #hear(event: ClientEvent): void {
    switch (event.event) {
      case 'connected':
        this.#connected = true;
        return;
      case 'sent':
        this.#sent.push(event);
        return;
      case 'answered':
        this.#answeredAtMs.push(event.receivedAtMs);
        return;
      case 'violation':
        this.#violations.push(event.text);
        return;
      case 'broken':
        this.#broken = event.text;
        return;
      case 'closed':
        if (event.unanswered > 0) this.#broken ??= `closed with ${event.unanswered} messages unanswered`;
    }
  }
}
