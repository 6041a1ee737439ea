import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { assert } from '../../base/assert.js';
import { KemariError } from '../../base/errors.js';

/** Kinds of messages (xen/include/public/io/xs_wire.h). */
const XS = {
  DIRECTORY: 1,
  READ: 2,
  WATCH: 4,
  UNWATCH: 5,
  WRITE: 11,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
} as const;

const HEADER_BYTES = 16;
const MAX_PAYLOAD_BYTES = 4096;
const DEFAULT_SOCKET = '/run/xenstored/socket';

/** Called whenever something at or below the watched path may have changed, and once at the start. */
export type XenWatcher = (path: string) => void;

interface Waiting {
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** A connection to this host's xenstored, through its Unix socket: paths and their values, and who changes them. */
export class XenStore {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = []; // xenstored answers in order
  readonly #watchers = new Map<string, XenWatcher>();
  #unread = Buffer.alloc(0);
  #nextToken = 1;
  #ended: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#take(chunk);
    });
    socket.on('error', (error) => {
      this.#end(new KemariError('KEMARI_XENSTORE', `the connection to xenstored was lost: ${error.message}`));
    });
    socket.on('close', () => {
      this.#end(new KemariError('KEMARI_XENSTORE', 'the connection to xenstored was closed'));
    });
  }

  /** Errors: `KEMARI_XEN_MISSING` where there is no xenstored. */
  static async connect(path = DEFAULT_SOCKET): Promise<XenStore> {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
    } catch (error) {
      throw new KemariError('KEMARI_XEN_MISSING', `nobody listens at ${path}: is this dom0, and does xenstored run?`, {
        cause: error,
      });
    }
    return new XenStore(socket);
  }

  /** The value of a node; undefined where there is none. */
  async read(path: string): Promise<string | undefined> {
    const payload = await this.#ask(XS.READ, [path]).catch(none);
    return payload?.toString('latin1');
  }

  async write(path: string, value: string | number): Promise<void> {
    await this.#ask(XS.WRITE, [path], String(value));
  }

  /** The names of a node's children; empty where there is no such node. */
  async list(path: string): Promise<readonly string[]> {
    const payload = await this.#ask(XS.DIRECTORY, [path]).catch(none);
    return payload?.toString('latin1').split('\0').filter(Boolean) ?? [];
  }

  /** Who owns a node, and who may read it besides; children made later inherit it. */
  async permit(path: string, owner: number, reader: number): Promise<void> {
    await this.#ask(XS.SET_PERMS, [path, `n${owner}`, `r${reader}`]);
  }

  /** Removes a node and what is below it; nothing where there is none. */
  async remove(path: string): Promise<void> {
    await this.#ask(XS.RM, [path]).catch(none);
  }

  /** Returns how to end it. */
  async watch(path: string, watcher: XenWatcher): Promise<() => Promise<void>> {
    const token = `kemari-${this.#nextToken++}`;
    this.#watchers.set(token, watcher);
    await this.#ask(XS.WATCH, [path, token]);
    return async () => {
      if (!this.#watchers.delete(token) || this.#ended !== undefined) return;
      await this.#ask(XS.UNWATCH, [path, token]);
    };
  }

  close(): void {
    this.#end(new KemariError('KEMARI_XENSTORE', 'the connection to xenstored was closed by us'));
    this.#socket.destroy();
  }

  async #ask(type: number, words: readonly string[], rest = ''): Promise<Buffer> {
    if (this.#ended !== undefined) throw this.#ended;
    const payload = Buffer.from(words.map((word) => `${word}\0`).join('') + rest, 'latin1');
    assert(payload.length <= MAX_PAYLOAD_BYTES, 'a message to xenstored is too long');
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(type, 0);
    header.writeUInt32LE(payload.length, 12);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(Buffer.concat([header, payload]));
    });
  }

  #take(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk]);
    while (this.#unread.length >= HEADER_BYTES) {
      const length = this.#unread.readUInt32LE(12);
      if (length > MAX_PAYLOAD_BYTES) {
        this.#end(new KemariError('KEMARI_XENSTORE', `xenstored sends a message of ${length} bytes`));
        this.#socket.destroy();
        return;
      }
      if (this.#unread.length < HEADER_BYTES + length) return;
      const type = this.#unread.readUInt32LE(0);
      const payload = Buffer.from(this.#unread.subarray(HEADER_BYTES, HEADER_BYTES + length));
      this.#unread = this.#unread.subarray(HEADER_BYTES + length);
      this.#handle(type, payload);
    }
  }

  #handle(type: number, payload: Buffer): void {
    if (type === XS.WATCH_EVENT) {
      const [path, token] = payload.toString('latin1').split('\0');
      this.#watchers.get(token ?? '')?.(path ?? '');
      return;
    }
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return; // nobody asked
    if (type !== XS.ERROR) {
      waiting.resolve(payload);
      return;
    }
    const why = payload.toString('latin1').replace(/\0$/, '');
    waiting.reject(new KemariError('KEMARI_XENSTORE', `xenstored answers ${why}`, { details: { why } }));
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#watchers.clear();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** There is nothing: an answer; other errors stay errors. */
function none(error: unknown): undefined {
  if (error instanceof KemariError && error.details['why'] === 'ENOENT') return undefined;
  throw error;
}
