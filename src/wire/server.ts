import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { KemariError, errorToWire, messageOf } from '../base/errors.js';
import { readJsonLines, writeJsonLine } from '../base/json-lines.js';
import { CONNECTION_LIMIT, CONNECTION_LIMIT_PER_ADDRESS, ConnectionBudget } from './connection-budget.js';
import type { Accept, Offer, PeerQuestion, Security } from './contract.js';
import { MESSAGE_LIMIT_BYTES } from './control-connection.js';
import { readExactly, takeDescriptor } from './descriptor.js';
import type { ControlAnswer } from './messages.js';
import { decodePreamble, PREAMBLE_BYTES } from './preamble.js';
import { readRequest } from './read-request.js';
import { Refusals } from './refusals.js';
import { CONTROL_IDENTITY, TLS_OPTIONS } from './secure.js';

/** How long a connection may take for each step, whatever it sends meanwhile: preamble, TLS, request. */
export const PREAMBLE_TIMEOUT_MS = 3_000;
export const TLS_TIMEOUT_MS = 3_000;
export const REQUEST_TIMEOUT_MS = 3_000;

/** Who an offer comes from, while it is looked into. */
export interface OfferSession {
  /** The peer's address and port, for the log. */
  readonly peer: string;
  /** Tells the peer what is being done. */
  progress(text: string): void;
  /** Aborted when the peer hangs up before it was answered. */
  readonly signal: AbortSignal;
}

export interface WireHandlers {
  /** What it throws is what the peer is told. */
  offer(offer: Offer, session: OfferSession): Promise<Accept>;
  alive(question: PeerQuestion): Promise<{ readonly answer: 'runs' | 'gone' | 'unknown'; readonly reason: string }>;
  /** A stream or lease connection with a token; the descriptor belongs to the callee if it answers true. */
  link(kind: 'stream' | 'lease', token: string, fd: number): boolean;
  /** For the log: what was turned away, and why; not each one where they are many (Refusals). */
  refused(peer: string, why: string): void;
}

/**
 * kemarid's side of the protocol: takes connections from anyone, says nothing to who does not have the key, and gives up
 * on who dawdles. Memory is bounded by the number of connections, which is (ConnectionBudget).
 */
export class WireServer {
  readonly #handlers: WireHandlers;
  readonly #servers: Server[] = [];
  readonly #tls: TlsServer | undefined;
  readonly #budget = new ConnectionBudget();
  readonly #open = new Set<Socket>();
  readonly #refusals: Refusals;
  /** Of control connections, by their two ends: what gives their place back. */
  readonly #places = new Map<string, () => void>();

  private constructor(security: Security, handlers: WireHandlers) {
    this.#handlers = handlers;
    this.#refusals = new Refusals((peer, why) => {
      handlers.refused(peer, why);
    });
    if (security.kind === 'psk') this.#tls = this.#secureServer(security.key);
  }

  /** Errors: `KEMARI_LISTEN`. */
  static async listen(
    addresses: readonly { readonly host: string; readonly port: number }[],
    security: Security,
    handlers: WireHandlers,
  ): Promise<WireServer> {
    const wire = new WireServer(security, handlers);
    for (const { host, port } of addresses) {
      const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
        void wire.#greet(socket);
      });
      try {
        // With both wildcards, IPv6's would take IPv4's port as well.
        server.listen({ host, port, ipv6Only: true });
        await once(server, 'listening');
      } catch (error) {
        await wire.close();
        throw new KemariError('KEMARI_LISTEN', `cannot listen on ${host} port ${port}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      // An accept that fails for want of descriptors is over with the next close.
      server.on('error', (error) => {
        wire.#refusals.note('nobody', messageOf(error));
      });
      wire.#servers.push(server);
    }
    return wire;
  }

  /** The ports that are listened on, in the order of `addresses`. */
  get ports(): number[] {
    return this.#servers.map((server) => (server.address() as AddressInfo).port);
  }

  /** Connections that have not been handed on or ended. */
  get strangers(): number {
    return this.#budget.count;
  }

  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const socket of this.#open) socket.destroy();
    await Promise.all(closed);
    this.#refusals.close();
  }

  async #greet(socket: Socket): Promise<void> {
    const host = socket.remoteAddress ?? 'unknown';
    const peer = `${host} port ${socket.remotePort ?? 0}`;
    const displaced = new AbortController();
    const leave = this.#budget.enter(host, () => {
      displaced.abort();
      this.#refusals.note(peer, `more than ${CONNECTION_LIMIT} connections are open: it was the oldest of its address`);
    });
    if (leave === undefined) {
      this.#refusals.note(peer, `more than ${CONNECTION_LIMIT_PER_ADDRESS} connections of its address are open`);
      socket.destroy();
      return;
    }
    let kept = false;
    try {
      const fd = takeDescriptor(socket);
      const read =
        fd === undefined ? undefined : await readExactly(fd, PREAMBLE_BYTES, PREAMBLE_TIMEOUT_MS, displaced.signal);
      if (read === undefined) return;
      const preamble = decodePreamble(read.bytes);
      if (preamble?.kind === 'control') {
        kept = true;
        this.#control(read.fd, peer, leave, displaced.signal);
      } else if (preamble === undefined || !this.#handlers.link(preamble.kind, preamble.token, read.fd)) {
        closeSync(read.fd);
        this.#refusals.note(peer, preamble === undefined ? 'no preamble of kemari' : 'an unknown token');
      }
    } finally {
      if (!kept) leave();
    }
  }

  #control(fd: number, peer: string, leave: () => void, displaced: AbortSignal): void {
    const socket = new Socket({ fd, readable: true, writable: true });
    const ends = endsOf(socket);
    this.#open.add(socket);
    this.#places.set(ends, leave);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#places.delete(ends);
      leave();
    });
    displaced.addEventListener('abort', () => socket.destroy());
    if (displaced.aborted) socket.destroy();
    if (this.#tls === undefined) this.#serve(socket, peer, ends);
    else this.#tls.emit('connection', socket);
  }

  #secureServer(key: Buffer): TlsServer {
    const server = createTlsServer({
      ...TLS_OPTIONS,
      handshakeTimeout: TLS_TIMEOUT_MS,
      pskCallback: (_, identity) => (identity === CONTROL_IDENTITY ? key : null),
    });
    server.on('tlsClientError', (error, socket) => {
      this.#refusals.note(socket.remoteAddress ?? 'unknown', `no TLS with our key: ${messageOf(error)}`);
      socket.destroy();
    });
    server.on('secureConnection', (socket) => {
      socket.on('error', () => socket.destroy());
      this.#serve(socket, `${socket.remoteAddress ?? 'unknown'} port ${socket.remotePort ?? 0}`, endsOf(socket));
    });
    return server;
  }

  /** One request of a peer that has the key (or none is asked for), one answer, the end. */
  #serve(channel: Duplex, peer: string, ends: string): void {
    const hungUp = new AbortController();
    const timer = setTimeout(() => channel.destroy(), REQUEST_TIMEOUT_MS);
    channel.on('close', () => {
      clearTimeout(timer);
      hungUp.abort();
    });
    let asked = false;
    const onRequest = (request: unknown): void => {
      // A second one is not read: one request a connection.
      if (asked) return;
      asked = true;
      clearTimeout(timer);
      // A stranger no more: how long an answer takes, and how many are asked for at a time, is ours to bear.
      this.#places.get(ends)?.();
      void this.#answer(request, channel, { peer, signal: hungUp.signal });
    };
    const onGarbage = (error: KemariError): void => {
      this.#refusals.note(peer, error.message);
      channel.destroy();
    };
    readJsonLines(channel, onRequest, onGarbage, MESSAGE_LIMIT_BYTES);
  }

  async #answer(request: unknown, channel: Duplex, peer: Pick<OfferSession, 'peer' | 'signal'>): Promise<void> {
    const send = (answer: ControlAnswer): void => {
      if (channel.writable) writeJsonLine(channel, answer);
    };
    try {
      const checked = readRequest(request);
      if (checked.type === 'peer-alive') {
        send({ type: 'alive', ...(await this.#handlers.alive(checked.question)) });
      } else {
        const progress = (text: string): void => {
          send({ type: 'progress', text });
        };
        send({ type: 'accept', accept: await this.#handlers.offer(checked.offer, { ...peer, progress }) });
      }
    } catch (error) {
      this.#refusals.note(peer.peer, messageOf(error));
      send({ type: 'refuse', error: errorToWire(error) });
    }
    channel.end();
  }
}

/** The two ends of a connection, which no other one has while it is open. */
function endsOf(socket: Socket): string {
  return [socket.localAddress, socket.localPort, socket.remoteAddress, socket.remotePort].join(' ');
}
