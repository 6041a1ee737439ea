import type { Duplex } from 'node:stream';
import { KemariError } from '../../base/errors.js';
import { decodeQmp, type QmpMessage, type QmpVersion } from './qmp-decoder.js';

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface QmpClientOptions {
  readonly onEvent: (event: QmpEvent) => void;
  /** The connection cannot be used any more: it ended, or what came was no QMP. Called once, not after `close`. */
  readonly onBroken: (error: KemariError) => void;
}

/** How long QEMU may take for a command that does no I/O; its main loop may be starved on a loaded host. */
export const QMP_COMMAND_TIMEOUT_MS = 20_000;

/** How many commands may wait for their reply. */
const MAX_PENDING_COMMANDS = 64;

interface PendingCommand {
  readonly name: string;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: KemariError) => void;
}

interface AwaitedEvent {
  readonly name: string;
  readonly isMeant: (event: QmpEvent) => boolean;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (event: QmpEvent) => void;
  readonly reject: (error: KemariError) => void;
}

const unset = (): void => undefined;

/**
 * Our side of a QMP connection. Replies are matched by id; events come in the order QEMU sent them. When the connection
 * breaks every command that waits fails with the same reason.
 */
export class QmpClient {
  readonly #stream: Duplex;
  readonly #options: QmpClientOptions;
  readonly #pending = new Map<number, PendingCommand>();
  readonly #awaited = new Set<AwaitedEvent>();
  readonly #greeting: Promise<QmpVersion>;
  #greet: (version: QmpVersion) => void = unset;
  #failGreeting: (error: KemariError) => void = unset;
  #rest = Buffer.alloc(0);
  #nextId = 1;
  #broken: KemariError | undefined;

  constructor(stream: Duplex, options: QmpClientOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#greeting = new Promise((resolve, reject) => {
      this.#greet = resolve;
      this.#failGreeting = reject;
    });
    // Whoever negotiates learns of it; a connection that breaks before anyone does is told by onBroken.
    this.#greeting.catch(() => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.#receive(chunk);
    });
    stream.on('error', (error) => {
      this.#break(new KemariError('KEMARI_QMP_CLOSED', `QMP connection failed: ${error.message}`, { cause: error }));
    });
    stream.on('close', () => {
      this.#break(new KemariError('KEMARI_QMP_CLOSED', 'QEMU closed its QMP connection'));
    });
  }

  /**
   * Waits for the greeting and leaves the negotiation mode. Returns QEMU's version.
   *
   * Errors: those of `execute`.
   */
  async negotiate(timeoutMs: number): Promise<QmpVersion> {
    const timer = setTimeout(() => {
      this.#break(new KemariError('KEMARI_QMP_TIMEOUT', `QEMU did not greet within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      const version = await this.#greeting;
      await this.execute('qmp_capabilities', {}, timeoutMs);
      return version;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Errors: `KEMARI_QMP_REFUSED` (QEMU's own words inside), `KEMARI_QMP_TIMEOUT`, `KEMARI_QMP_CLOSED`,
   * `KEMARI_QMP_MALFORMED`, `KEMARI_QMP_OVERSIZED`, `KEMARI_QMP_BUSY`.
   */
  execute(name: string, args: Readonly<Record<string, unknown>> = {}, timeoutMs = QMP_COMMAND_TIMEOUT_MS) {
    return new Promise<unknown>((resolve, reject) => {
      if (this.#broken !== undefined) {
        reject(this.#broken);
        return;
      }
      if (this.#pending.size >= MAX_PENDING_COMMANDS) {
        reject(
          new KemariError('KEMARI_QMP_BUSY', `${this.#pending.size} QMP commands wait already; not sending ${name}`),
        );
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new KemariError('KEMARI_QMP_TIMEOUT', `QEMU did not answer ${name} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#pending.set(id, { name, timer, resolve, reject });
      this.#stream.write(`${JSON.stringify({ execute: name, arguments: args, id })}\n`);
    });
  }

  /**
   * The next event with this name, of those that `isMeant` accepts. Errors: `KEMARI_QMP_TIMEOUT`, or why the connection
   * broke.
   */
  nextEvent(
    name: string,
    timeoutMs = QMP_COMMAND_TIMEOUT_MS,
    isMeant: (event: QmpEvent) => boolean = () => true,
  ): Promise<QmpEvent> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) {
        reject(this.#broken);
        return;
      }
      const timer = setTimeout(() => {
        this.#awaited.delete(awaited);
        reject(new KemariError('KEMARI_QMP_TIMEOUT', `QEMU did not report ${name} within ${timeoutMs} ms`));
      }, timeoutMs);
      const awaited: AwaitedEvent = { name, isMeant, timer, resolve, reject };
      this.#awaited.add(awaited);
    });
  }

  /** Ends the connection; commands that wait fail with `KEMARI_QMP_CLOSED`. */
  close(): void {
    this.#fail(new KemariError('KEMARI_QMP_CLOSED', 'the QMP connection was closed'));
  }

  #receive(chunk: Buffer): void {
    if (this.#broken !== undefined) return;
    try {
      const { messages, rest } = decodeQmp(this.#rest, chunk);
      this.#rest = Buffer.from(rest);
      for (const message of messages) this.#handle(message);
    } catch (error) {
      if (!(error instanceof KemariError)) throw error;
      this.#break(error);
    }
  }

  #handle(message: QmpMessage): void {
    switch (message.type) {
      case 'greeting':
        this.#greet(message.version);
        return;
      case 'event':
        this.#report({ name: message.name, data: message.data });
        return;
      case 'return':
        this.#settle(message.id)?.resolve(message.value);
        return;
      case 'error':
        this.#refuse(message.id, message.errorClass, message.description);
    }
  }

  #report(event: QmpEvent): void {
    this.#options.onEvent(event);
    for (const awaited of this.#awaited) {
      if (awaited.name !== event.name || !awaited.isMeant(event)) continue;
      clearTimeout(awaited.timer);
      this.#awaited.delete(awaited);
      awaited.resolve(event);
    }
  }

  #refuse(id: number | undefined, errorClass: string, description: string): void {
    if (id === undefined) {
      this.#break(new KemariError('KEMARI_QMP_MALFORMED', `QEMU could not read a command of ours: ${description}`));
      return;
    }
    const command = this.#settle(id);
    command?.reject(
      new KemariError('KEMARI_QMP_REFUSED', `QEMU refused ${command.name}: ${description}`, {
        details: { errorClass },
      }),
    );
  }

  /** The command that a reply answers; undefined when it has timed out meanwhile. */
  #settle(id: number): PendingCommand | undefined {
    const command = this.#pending.get(id);
    if (command === undefined) {
      if (id >= this.#nextId)
        throw new KemariError('KEMARI_QMP_MALFORMED', `QEMU answered a command never sent: ${id}`);
      return undefined;
    }
    this.#pending.delete(id);
    clearTimeout(command.timer);
    return command;
  }

  #break(error: KemariError): void {
    if (this.#broken !== undefined) return;
    this.#fail(error);
    this.#options.onBroken(error);
  }

  #fail(error: KemariError): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    this.#failGreeting(error);
    for (const waiting of [...this.#pending.values(), ...this.#awaited]) {
      clearTimeout(waiting.timer);
      waiting.reject(error);
    }
    this.#pending.clear();
    this.#awaited.clear();
    this.#stream.destroy();
  }
}
