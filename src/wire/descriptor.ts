import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { addon } from '../native/addon.js';
import { assert } from '../base/assert.js';

/**
 * Takes the connection out of Node's hands: a descriptor of it that is the caller's to close; the socket is destroyed and
 * reads nothing more. undefined when the socket has been closed already.
 */
export function takeDescriptor(socket: Socket): number | undefined {
  // Node has no public way to it. The descriptor stays Node's, therefore a copy.
  const { _handle: handle } = socket as unknown as { _handle: { readonly fd: number } | null };
  if (handle === null || handle.fd < 0) {
    socket.destroy();
    return undefined;
  }
  const fd = addon.duplicateDescriptor(handle.fd);
  socket.destroy();
  return fd;
}

/**
 * Reads exactly `count` bytes of a connection, not one more, and gives the connection back as a descriptor. `undefined`
 * when it ended before, was longer than `timeoutMs` about it, or `signal` was aborted; it is closed then. The descriptor
 * passed in is ours.
 */
export function readExactly(
  fd: number,
  count: number,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Buffer; readonly fd: number } | undefined> {
  return new Promise((resolve) => {
    const bytes = Buffer.alloc(count);
    let filled = 0;
    const settle = (whole: boolean): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
      if (!whole) socket.destroy();
      const taken = whole ? takeDescriptor(socket) : undefined;
      resolve(taken === undefined ? undefined : { bytes, fd: taken });
    };
    const giveUp = (): void => {
      settle(false);
    };
    const onread: OnReadOpts = {
      // Never more than what is missing: the rest belongs to whoever gets the connection.
      buffer: () => bytes.subarray(filled),
      callback: (read) => {
        filled += read;
        assert(filled <= count, 'a read stays within its buffer');
        if (filled === count) settle(true);
        return filled < count;
      },
    };
    // Its types know of `onread` for connect() only.
    const options: SocketConstructorOpts & { onread: OnReadOpts } = { fd, readable: true, writable: true, onread };
    const socket = new Socket(options);
    const timer = setTimeout(giveUp, timeoutMs);
    for (const event of ['error', 'end', 'close']) socket.on(event, giveUp);
    signal?.addEventListener('abort', giveUp);
    socket.resume();
  });
}
