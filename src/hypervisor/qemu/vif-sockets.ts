import { chmodSync, chownSync, closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { addon } from '../../native/addon.js';
import { vifSocketName } from './machine-arguments.js';

/** The folder's owner may do all, the group (QEMU's own) may only reach what it knows the name of. */
const FOLDER_MODE = 0o710;
const SOCKET_MODE = 0o660;

/**
 * Listening sockets for the NICs of a machine that starts. QEMU connects to them through a descriptor of their folder; when
 * all have connected nothing of this is needed any more.
 */
export class VifSockets {
  readonly #folder: string;
  readonly #listeners: (number | undefined)[];

  /** Errors: `KEMARI_SOCKET`, or that of the file system. */
  constructor(privateDirectory: string, count: number, gid: number) {
    this.#folder = join(privateDirectory, 'vhost');
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { mode: FOLDER_MODE });
    chownSync(this.#folder, 0, gid);
    this.#listeners = [];
    for (let index = 0; index < count; index++) {
      const path = join(this.#folder, vifSocketName(index));
      this.#listeners.push(addon.listenUnix(path));
      chownSync(path, 0, gid);
      chmodSync(path, SOCKET_MODE);
    }
  }

  /** A descriptor of the folder, for QEMU to inherit; the caller closes it. */
  takeFolderFd(): number {
    return openSync(this.#folder, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  /** Hands each connection that came meanwhile to `accept`; true when all have come. */
  acceptNew(accept: (index: number, fd: number) => void): boolean {
    for (const [index, listener] of this.#listeners.entries()) {
      if (listener === undefined) continue;
      const fd = addon.acceptUnix(listener);
      if (fd < 0) continue;
      this.#listeners[index] = undefined;
      closeSync(listener);
      accept(index, fd);
    }
    return this.#listeners.every((listener) => listener === undefined);
  }

  /** Idempotent. */
  close(): void {
    for (const [index, listener] of this.#listeners.entries()) {
      if (listener !== undefined) closeSync(listener);
      this.#listeners[index] = undefined;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
