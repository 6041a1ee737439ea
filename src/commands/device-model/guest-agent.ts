import { Socket } from 'node:net';
import { KemariError } from '../../base/errors.js';

/** Longer than any answer to what is asked here. */
const LINE_LIMIT_BYTES = 64 << 10;

/** Before a request it has the agent's parser start anew; in an answer it stands before that to guest-sync-delimited. */
const SENTINEL = 0xff;

/**
 * QEMU's guest agent (qemu-ga, JSON lines) at the other end of a serial port. Nobody may listen there, now or ever; what a
 * takeover left half said, or was said twice, is passed over.
 */
export class GuestAgent {
  readonly #socket: Socket;
  #unread = '';
  #nextId: number;
  #waiting: ((answer: { readonly return?: unknown; readonly error?: unknown }) => void) | undefined;

  /** The descriptor belongs to the agent. `firstId`: a number by which this connection's first sync is told from any other's. */
  constructor(fd: number, firstId: number) {
    this.#nextId = firstId;
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => {
      this.#hear(text);
    });
    // It ends with QEMU, whose end is told elsewhere.
    this.#socket.on('error', () => undefined);
    this.#socket.unref();
  }

  /** Finds out whether an agent listens: only then may it be asked anything. Not while another request is under way. */
  async isThere(timeoutMs: number): Promise<boolean> {
    const id = (this.#nextId += 1);
    // A guest that does not listen does not empty its port: nothing is added to what waits there already.
    if (this.#socket.writableLength > 0) return false;
    const answer = this.#answer(timeoutMs, (line) => line.return === id);
    this.#socket.write(Buffer.from([SENTINEL]));
    this.#send(`{"execute":"guest-sync-delimited","arguments":{"id":${id}}}`);
    return (await answer) !== undefined;
  }

  /**
   * One request and its answer's `return`. `args` is JSON text, since JavaScript's numbers do not hold nanoseconds.
   *
   * Errors: `KEMARI_GUEST_AGENT` when the agent refuses, or does not answer in time.
   */
  async execute(command: string, args: string, timeoutMs: number): Promise<unknown> {
    const answer = this.#answer(timeoutMs, () => true);
    this.#send(`{"execute":"${command}","arguments":${args}}`);
    const line = await answer;
    if (line === undefined) {
      throw new KemariError('KEMARI_GUEST_AGENT', `the guest agent did not answer "${command}" within ${timeoutMs} ms`);
    }
    if (line.error === undefined) return line.return;
    throw new KemariError('KEMARI_GUEST_AGENT', `the guest agent refused "${command}": ${JSON.stringify(line.error)}`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(line: string): void {
    this.#socket.write(`${line}\n`);
  }

  /** The next answer that is the wanted one; undefined when none comes in time. */
  #answer(timeoutMs: number, isIt: (line: { readonly return?: unknown }) => boolean) {
    return new Promise<{ readonly return?: unknown; readonly error?: unknown } | undefined>((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined;
        resolve(undefined);
      }, timeoutMs);
      this.#waiting = (line) => {
        if (!isIt(line)) return;
        this.#waiting = undefined;
        clearTimeout(timer);
        resolve(line);
      };
    });
  }

  #hear(text: string): void {
    this.#unread += text;
    if (this.#unread.length > LINE_LIMIT_BYTES) this.#unread = '';
    const lines = this.#unread.split('\n');
    this.#unread = lines.pop() ?? '';
    for (const line of lines) {
      const answer = parse(line.slice(line.lastIndexOf(String.fromCharCode(SENTINEL)) + 1));
      if (answer !== undefined) this.#waiting?.(answer);
    }
  }
}

/** undefined for what is no answer of an agent: a guest may write anything there. */
function parse(line: string): { readonly return?: unknown; readonly error?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && ('return' in value || 'error' in value) ? value : undefined;
  } catch {
    return undefined;
  }
}
