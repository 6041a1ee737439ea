import { constants } from 'node:crypto';
import { once } from 'node:events';
import { createServer, Socket, type AddressInfo } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { ExecutionContext } from 'ava';
import { readJsonLines, writeJsonLine } from '../../src/base/json-lines.js';
import type { HostInstance } from '../../src/model/host-instance.js';
import type { PeerAddress } from '../../src/wire/contract.js';
import { readExactly, takeDescriptor } from '../../src/wire/descriptor.js';
import { decodePreamble, PREAMBLE_BYTES, type ConnectionKind } from '../../src/wire/preamble.js';
import { TLS_OPTIONS } from '../../src/wire/secure.js';
import { RECORD, RecordWriter } from '../link/records.js';

const TOKEN = '5a'.repeat(16);
const HEADER_BYTES = 32;
const PREAMBLE_TIMEOUT_MS = 10_000;

/** No process of this host, and none that anybody could find. */
const INSTANCE: HostInstance = {
  ...{ hostId: 'host-of-nobody', pid: 4711, startTicks: '1', bootId: 'boot-of-nobody', pidNamespace: '1' },
};

/** What a hostile standby does in the place of what it should; where nothing is said it behaves. */
export interface Manners {
  /** When a connection has said what it is, before anything is secured. True: it is taken care of. */
  readonly greet?: (kind: ConnectionKind, socket: Socket) => boolean;
  /** In the place of `accept`. */
  readonly answer?: (channel: Socket, accept: object) => void;
  /** In the place of an ack, for every epoch from when it shall misbehave. */
  readonly commit?: (epoch: bigint, link: HostileLink) => void;
  /** In the place of an answer to a renewal, from when it shall misbehave. */
  readonly renewal?: (number: bigint, lease: HostileLink) => void;
}

/** A secured stream or lease connection, seen from the standby. */
export class HostileLink {
  readonly socket: Socket;
  readonly #write = new RecordWriter();

  constructor(socket: Socket) {
    this.socket = socket;
  }

  ack(epoch: bigint): void {
    this.socket.write(this.#write.record(RECORD.ACK, epoch));
  }

  answer(renewal: bigint, number?: bigint): void {
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64LE(renewal);
    this.socket.write(this.#write.record(RECORD.ANSWER, 0n, payload, number === undefined ? {} : { number }));
  }

  record(...args: Parameters<RecordWriter['record']>): void {
    this.socket.write(this.#write.record(...args));
  }
}

/**
 * kemarid and restore process in one, in the test's own process: it has the key, takes every offer, drops every page, and
 * acknowledges every epoch until it is told to misbehave.
 */
export class HostileStandby {
  manners: Manners = {};
  misbehaves = false;
  /** How often it did. */
  misdeeds = 0;
  /** What it says of its own process when it is asked. */
  peer: 'runs' | 'gone' = 'runs';
  readonly address: PeerAddress;
  readonly #tls: TlsServer;
  readonly #sockets = new Set<Socket>();
  /** By the identity that came with the key: stream and lease are secured at the same time. */
  readonly #kinds = new WeakMap<TLSSocket, ConnectionKind>();

  private constructor(port: number, key: Buffer) {
    this.address = { host: '127.0.0.1', port };
    this.#tls = createTlsServer({
      ...TLS_OPTIONS,
      secureOptions: constants.SSL_OP_NO_TICKET,
      pskCallback: (socket, identity) => {
        this.#kinds.set(socket, identity.split(' ')[1] as ConnectionKind);
        return key;
      },
    });
    this.#tls.on('secureConnection', (socket) => {
      this.#serve(this.#keep(socket));
    });
    this.#tls.on('tlsClientError', (_, socket) => socket.destroy());
  }

  static async listen(t: ExecutionContext, key: Buffer): Promise<HostileStandby> {
    const server = createServer({ pauseOnConnect: true, noDelay: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const standby = new HostileStandby((server.address() as AddressInfo).port, key);
    server.on('connection', (socket) => void standby.#greet(socket));
    t.teardown(() => {
      server.close();
      standby.hangUp();
    });
    return standby;
  }

  /** Ends all its connections. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async #greet(stranger: Socket): Promise<void> {
    const taken = takeDescriptor(stranger);
    const read = taken === undefined ? undefined : await readExactly(taken, PREAMBLE_BYTES, PREAMBLE_TIMEOUT_MS);
    const preamble = read === undefined ? undefined : decodePreamble(read.bytes);
    if (read === undefined || preamble === undefined) return;
    const socket = this.#keep(new Socket({ fd: read.fd, readable: true, writable: true }));
    if (this.manners.greet?.(preamble.kind, socket) === true) return;
    this.#tls.emit('connection', socket);
  }

  #serve(socket: TLSSocket): void {
    const kind = this.#kinds.get(socket);
    if (kind === 'stream' || kind === 'lease') this.#link(kind, new HostileLink(socket));
    else this.#control(socket);
  }

  #keep<S extends Socket>(socket: S): S {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }

  #control(channel: Socket): void {
    const accept = {
      ...{ token: TOKEN, kemariVersion: '0.1.0', hostName: 'nobody', instance: INSTANCE, addresses: [this.address] },
    };
    const onRequest = (request: unknown): void => {
      if ((request as { type?: unknown }).type === 'peer-alive') {
        writeJsonLine(channel, { type: 'alive', answer: this.peer, reason: 'it says so' });
      } else if (this.manners.answer !== undefined) {
        this.manners.answer(channel, accept);
        return;
      } else {
        writeJsonLine(channel, { type: 'accept', accept });
      }
      channel.end();
    };
    readJsonLines(channel, onRequest, () => channel.destroy());
  }

  #link(kind: 'stream' | 'lease', link: HostileLink): void {
    const { socket } = link;
    let waiting = Buffer.alloc(0);
    /** Of the payload that is still to come. */
    let skip = 0;
    socket.on('data', (data: Buffer) => {
      const ignored = Math.min(skip, data.length);
      skip -= ignored;
      waiting = Buffer.concat([waiting, data.subarray(ignored)]);
      while (skip === 0 && waiting.length >= HEADER_BYTES) {
        const type = waiting.readUInt16LE(6);
        const length = waiting.readUInt32LE(8);
        if (kind === 'lease' && waiting.length < HEADER_BYTES + length) return;
        const here = waiting.subarray(HEADER_BYTES, HEADER_BYTES + length);
        if (kind === 'lease') this.#renewal(here.readBigUInt64LE(), link);
        else if (type === RECORD.COMMIT) this.#commit(waiting.readBigUInt64LE(16), link);
        skip = length - here.length;
        waiting = waiting.subarray(HEADER_BYTES + here.length);
      }
    });
  }

  #commit(epoch: bigint, link: HostileLink): void {
    const misdeed = this.misbehaves ? this.manners.commit : undefined;
    if (misdeed === undefined) {
      link.ack(epoch);
      return;
    }
    this.misdeeds += 1;
    misdeed(epoch, link);
  }

  #renewal(number: bigint, lease: HostileLink): void {
    const misdeed = this.misbehaves ? this.manners.renewal : undefined;
    if (misdeed === undefined) {
      lease.answer(number);
      return;
    }
    this.misdeeds += 1;
    misdeed(number, lease);
  }
}
