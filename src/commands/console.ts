import { connect, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { KemariError } from '../base/errors.js';
import { openHost } from './context.js';

/** Ctrl-], as in xl console and telnet. */
export const ESCAPE = 0x1d;

/** Where the console is shown. */
export interface ConsoleEnds {
  readonly input: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly output: Writable;
  /** Called once connected. */
  readonly onConnected: (name: string) => void;
  readonly signal: AbortSignal;
}

/** Why a console came to its end. */
export type ConsoleEnd = 'escape' | 'domain-ended' | 'interrupted';

/**
 * Connects input and output with a domain's console until Ctrl-] (on a terminal), the domain's end, or `signal`. The end
 * of an input that is no terminal only ends what is sent, so that output can be read from a pipe.
 *
 * Errors: those of `find`; `KEMARI_NO_CONNECTION`.
 */
export async function consoleOf(root: string, nameOrDomid: string, ends: ConsoleEnds): Promise<ConsoleEnd> {
  const domain = await openHost(root).find(nameOrDomid);
  const socket = await connectTo(domain.paths.consoleSocket, domain.name);
  ends.onConnected(domain.name);
  const raw = ends.input.isTTY === true;
  if (raw) ends.input.setRawMode?.(true);
  try {
    return await exchange(socket, ends, raw);
  } finally {
    if (raw) ends.input.setRawMode?.(false);
    ends.input.pause();
    socket.destroy();
  }
}

function connectTo(path: string, name: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.off('error', onError);
      resolve(socket);
    });
    const onError = (error: Error): void => {
      const message = `cannot reach the console of domain "${name}": ${error.message}; it is starting or ending`;
      reject(new KemariError('KEMARI_NO_CONNECTION', message, { cause: error }));
    };
    socket.on('error', onError);
  });
}

function exchange(socket: Socket, { input, output, signal }: ConsoleEnds, raw: boolean): Promise<ConsoleEnd> {
  return new Promise((resolve, reject) => {
    const onInput = (data: Buffer): void => {
      const escape = raw ? data.indexOf(ESCAPE) : -1;
      const sent = escape < 0 ? data : data.subarray(0, escape);
      if (sent.length > 0 && !socket.write(sent)) {
        input.pause();
        socket.once('drain', () => input.resume());
      }
      if (escape >= 0) settle('escape');
    };
    const onAbort = (): void => {
      settle('interrupted');
    };
    const settle = (end: ConsoleEnd): void => {
      input.off('data', onInput);
      signal.removeEventListener('abort', onAbort);
      socket.unpipe(output);
      resolve(end);
    };
    socket.on('error', reject);
    // 'end' may come before the last bytes were written: pipe has handed all of them to output by then.
    socket.on('end', () => {
      settle('domain-ended');
    });
    socket.on('close', () => {
      settle('domain-ended');
    });
    signal.addEventListener('abort', onAbort, { once: true });
    socket.pipe(output, { end: false });
    input.on('data', onInput);
    if (signal.aborted) onAbort();
  });
}
