import type { MessageKind } from './ledger-line.js';

/** What the client's program tells. Times are milliseconds of Unix time. */
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

interface Message {
  readonly kind: MessageKind;
  readonly line: string;
}

/** One connection with the ledger of a guest, as its client tells of it. */
export class ConversationLog {
  readonly #sent: Message[] = [];
  /** When each message was answered, by number. */
  readonly #answeredAtMs: number[] = [];
  readonly #violations: string[] = [];
  #connected = false;
  #broken: string | undefined;

  hear(event: ClientEvent): void {
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
        if (event.unanswered > 0) this.broke(`closed with ${event.unanswered} messages unanswered`);
    }
  }

  /** It came to an end that nobody wanted; what was said first counts. */
  broke(text: string): void {
    this.#broken ??= text;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get broken(): string | undefined {
    return this.#broken;
  }

  get answeredAtMs(): readonly number[] {
    return this.#answeredAtMs;
  }

  /** The longest time from one answer to the next between these times; `alsoAtMs` counts as an answer. */
  longestGapMs(fromMs = 0, toMs = Infinity, alsoAtMs: readonly number[] = []): number {
    const times = [...this.#answeredAtMs, ...alsoAtMs].filter((at) => at >= fromMs && at <= toMs);
    return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? at)), 0);
  }

  report(longestGapMs = this.longestGapMs()): ConversationReport {
    const answered = this.#answeredAtMs.length;
    const writes = (messages: readonly Message[]): string[] =>
      messages.filter(({ kind }) => kind === 'W').map(({ line }) => line);
    return {
      ...{ sent: this.#sent.length, answered, unanswered: this.#sent.length - answered, broken: this.#broken },
      ...{ violations: this.#violations, writes: writes(this.#sent) },
      ...{ acknowledged: writes(this.#sent.slice(0, answered)), longestGapMs },
    };
  }
}
