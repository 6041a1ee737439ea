import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Kinds of messages (xen/include/public/io/xs_wire.h). */
const XS = { DIRECTORY: 1, READ: 2, WATCH: 4, UNWATCH: 5, WRITE: 11, RM: 13, SET_PERMS: 14, EVENT: 15, ERROR: 16 };
const HEADER_BYTES = 16;

interface Watch {
  readonly socket: Socket;
  readonly path: string;
  readonly token: string;
}

/** Plays xenstored: nodes, and who watches them. Everybody may do everything. */
export class PlayedStore {
  /** Values by path. */
  readonly nodes = new Map<string, string>();
  /** Where it listens. */
  readonly path: string;
  readonly #folder: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #watches: Watch[] = [];

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'kemari-played-store-'));
    this.path = join(this.#folder, 'socket');
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      let unread: Buffer = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        unread = Buffer.concat([unread, chunk]);
        while (unread.length >= HEADER_BYTES && unread.length >= HEADER_BYTES + unread.readUInt32LE(12)) {
          const end = HEADER_BYTES + unread.readUInt32LE(12);
          this.#answer(socket, unread.readUInt32LE(0), unread.subarray(HEADER_BYTES, end).toString('latin1'));
          unread = unread.subarray(end);
        }
      });
      socket.on('error', () => undefined); // whoever asked has gone
    });
  }

  static async start(): Promise<PlayedStore> {
    const store = new PlayedStore();
    await new Promise<void>((resolve) => store.#server.listen(store.path, resolve));
    return store;
  }

  /** As somebody else writes it. */
  write(path: string, value: string): void {
    this.nodes.set(path, value);
    this.#changed(path);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #answer(socket: Socket, type: number, payload: string): void {
    const [path = '', ...rest] = payload.split('\0');
    const below = [...this.nodes.keys()].filter((node) => node.startsWith(`${path}/`));
    const isThere = this.nodes.has(path) || below.length > 0;
    if ([XS.READ, XS.DIRECTORY, XS.RM].includes(type) && !isThere) {
      send(socket, XS.ERROR, 'ENOENT\0');
      return;
    }
    let said = 'OK\0';
    if (type === XS.READ) said = this.nodes.get(path) ?? '';
    if (type === XS.DIRECTORY) {
      said = [...new Set(below.map((node) => `${node.slice(path.length + 1).split('/')[0]}\0`))].join('');
    }
    if (type === XS.WRITE) this.nodes.set(path, rest.join('\0'));
    if (type === XS.RM) for (const node of [path, ...below]) this.nodes.delete(node);
    if (type === XS.UNWATCH) {
      this.#watches = this.#watches.filter((watch) => watch.socket !== socket || watch.token !== rest[0]);
    }
    send(socket, type, said);
    if (type === XS.WRITE || type === XS.RM) this.#changed(path);
    if (type === XS.WATCH) {
      this.#watches.push({ socket, path, token: rest[0] ?? '' });
      send(socket, XS.EVENT, `${path}\0${rest[0]}\0`);
    }
  }

  #changed(path: string): void {
    for (const watch of this.#watches) {
      const isWatched = path === watch.path || path.startsWith(`${watch.path}/`);
      if (isWatched) send(watch.socket, XS.EVENT, `${path}\0${watch.token}\0`);
      // What is removed takes along what is below.
      else if (watch.path.startsWith(`${path}/`)) send(watch.socket, XS.EVENT, `${watch.path}\0${watch.token}\0`);
    }
  }
}

function send(socket: Socket, type: number, text: string): void {
  const payload = Buffer.from(text, 'latin1');
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(payload.length, 12);
  socket.write(Buffer.concat([header, payload]));
}
