import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { KemariError, errorToWire } from '../base/errors.js';
import type { ControlReplies, ControlRequest, EventVerb, ProtectionEvent } from './contract.js';
import { readJsonLines, writeJsonLine } from '../base/json-lines.js';

type Verb = ControlRequest['verb'];

/** Someone who watches what goes on until the reply. */
export interface Watcher {
  /** Does nothing once the client has gone. */
  emit(event: ProtectionEvent): void;
  /** Aborted when the client has gone: it waits for no reply any more. */
  readonly signal: AbortSignal;
}

/** What a domain does for each verb. What a handler throws becomes the error of the reply. */
export type ControlHandlers = {
  readonly [V in Verb]: (
    request: Extract<ControlRequest, { verb: V }>,
    ...watcher: V extends EventVerb ? [Watcher] : []
  ) => Promise<ControlReplies[V]> | ControlReplies[V];
};

/** Clients at a time; one more is closed at once. */
export const CONNECTION_LIMIT = 64;

/** How long closing waits for replies that are under way. */
export const CLOSE_TIMEOUT_MS = 2_000;

/** Requests of one connection that wait for their reply; one more is refused. */
export const PENDING_LIMIT = 16;

/** A client that reads so slowly that this much waits for it hears of no more events. */
export const EVENT_BACKLOG_LIMIT_BYTES = 256 << 10;

/**
 * The control socket of a domain: requests and replies of contract.ts as JSON lines, `{id, ...request}` and
 * `{id, result | error}`, before it `{id, event}` for those that have events.
 */
export class ControlServer {
  readonly #server: Server;
  readonly #handlers: ControlHandlers;
  readonly #sockets = new Set<Socket>();
  readonly #replies = new Set<Promise<void>>();

  private constructor(handlers: ControlHandlers) {
    this.#handlers = handlers;
    this.#server = createServer((socket) => {
      this.#serve(socket);
    });
  }

  /** Listens on `path`, which nobody else uses (the domain's lock is held). */
  static async listen(path: string, handlers: ControlHandlers): Promise<ControlServer> {
    const server = new ControlServer(handlers);
    server.#server.listen(path);
    await once(server.#server, 'listening');
    return server;
  }

  /**
   * Takes no more requests, sends the replies of those that run (for CLOSE_TIMEOUT_MS at most), then closes. A handler must not await it (its own reply
   * would never be sent): `destroy` returns first, and its process then closes the server.
   */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.pause();
    const late = new AbortController();
    const timedOut = delay(CLOSE_TIMEOUT_MS, undefined, { signal: late.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#replies), timedOut]);
    late.abort();
    for (const socket of this.#sockets) socket.end(() => socket.destroy());
    await closed;
  }

  #serve(socket: Socket): void {
    if (this.#sockets.size >= CONNECTION_LIMIT) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    const left = new AbortController();
    let pending = 0;
    // A client that goes away early is its own business; 'close' follows.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      left.abort();
    });
    readJsonLines(
      socket,
      (value) => {
        const reply = this.#reply(socket, value, ++pending > PENDING_LIMIT, left.signal).finally(() => {
          pending--;
          this.#replies.delete(reply);
        });
        this.#replies.add(reply);
      },
      (error) => {
        writeJsonLine(socket, { id: null, error: errorToWire(error) });
        socket.end();
      },
    );
  }

  async #reply(socket: Socket, value: unknown, tooMany: boolean, signal: AbortSignal): Promise<void> {
    const { id, verb } = (value ?? {}) as { id?: unknown; verb?: unknown };
    try {
      if (tooMany) {
        throw new KemariError('KEMARI_TOO_MANY_REQUESTS', `more than ${PENDING_LIMIT} requests wait on one connection`);
      }
      const handler = this.#handlerOf(verb) as (request: unknown, watcher: Watcher) => unknown;
      const emit = (event: ProtectionEvent): void => {
        if (!signal.aborted && socket.writableLength < EVENT_BACKLOG_LIMIT_BYTES) writeJsonLine(socket, { id, event });
      };
      const result = await handler(value, { emit, signal });
      writeJsonLine(socket, { id, result });
    } catch (error) {
      writeJsonLine(socket, { id, error: errorToWire(error) });
    }
  }

  #handlerOf(verb: unknown): ControlHandlers[Verb] {
    if (typeof verb === 'string' && Object.hasOwn(this.#handlers, verb)) return this.#handlers[verb as Verb];
    throw new KemariError(
      'KEMARI_UNKNOWN_VERB',
      `kemari-dm does not know the request ${JSON.stringify(verb)}; it knows ${Object.keys(this.#handlers).join(', ')}. ` +
        'Its version is older or newer than that of the kemari command',
    );
  }
}
