import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { KemariError, asKemariError, messageOf } from '../base/errors.js';
import { readJsonLines, writeJsonLine } from '../base/json-lines.js';
import type { PeerAddress, Security } from './contract.js';
import { encodePreamble, NO_TOKEN, type ConnectionKind } from './preamble.js';
import { secureClient } from './secure.js';

/** How long the connection and its handshake may take, before the first answer. */
export const CONNECT_TIMEOUT_MS = 5_000;

/** The longest message on a control connection: an offer of a guest with all disks and NICs is a tenth of it. */
export const MESSAGE_LIMIT_BYTES = 256 << 10;

export function addressText({ host, port }: PeerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * A connection to a kemarid, preamble sent, nothing read yet.
 *
 * Errors: `KEMARI_PEER_CONNECT`, `KEMARI_PEER_TIMEOUT`.
 */
export async function openConnection(
  address: PeerAddress,
  kind: ConnectionKind,
  token: string,
  timeoutMs: number,
): Promise<Socket> {
  const socket = connect({ host: address.host, port: address.port, noDelay: true });
  // Paused before it is connected, or Node reads what is the link's.
  socket.pause();
  const timer = setTimeout(() => socket.destroy(timedOut(address, timeoutMs)), timeoutMs);
  try {
    await once(socket, 'connect');
    await new Promise<void>((resolve, reject) => {
      socket.write(encodePreamble({ kind, token }), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    return socket;
  } catch (error) {
    socket.destroy();
    if (error instanceof KemariError) throw error;
    throw new KemariError(
      'KEMARI_PEER_CONNECT',
      `cannot reach kemarid at ${addressText(address)}: ${messageOf(error)}; is it running there, and is the port open?`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Sends one request to a kemarid and hands every answer to `onAnswer` until that returns something other than undefined,
 * which is the result. The whole takes at most `timeoutMs`.
 *
 * Errors: `KEMARI_PEER_CONNECT`, `KEMARI_PEER_KEY`, `KEMARI_PEER_TIMEOUT`, `KEMARI_PEER_PROTOCOL`, `KEMARI_INTERRUPTED`,
 * and what `onAnswer` throws.
 */
export async function exchange<Result>(
  options: {
    readonly address: PeerAddress;
    readonly security: Security;
    readonly timeoutMs: number;
    readonly signal?: AbortSignal | undefined;
  },
  request: unknown,
  onAnswer: (answer: unknown) => Result | undefined,
): Promise<Result> {
  const { address, security, timeoutMs, signal } = options;
  const connectMs = Math.min(timeoutMs, CONNECT_TIMEOUT_MS);
  const socket = await openConnection(address, 'control', NO_TOKEN, connectMs);
  // Why we ended it ourselves, if we did: that is the error then, whatever the socket says.
  let ours: KemariError | undefined;
  const end = (error: KemariError): void => {
    ours ??= error;
    socket.destroy();
  };
  const interrupt = (): void => {
    end(new KemariError('KEMARI_INTERRUPTED', `the handshake with ${addressText(address)} was interrupted`));
  };
  const endAfter = (ms: number): NodeJS.Timeout =>
    setTimeout(() => {
      end(timedOut(address, ms));
    }, ms);
  // What follows sees it as the end of its stream.
  socket.on('error', () => socket.destroy());
  signal?.addEventListener('abort', interrupt);
  if (signal?.aborted === true) interrupt();
  let timer = endAfter(connectMs);
  try {
    const channel: Duplex =
      security.kind === 'plain' ? socket : await secureClient(socket, security.key, addressText(address));
    clearTimeout(timer);
    timer = endAfter(timeoutMs);
    return await converse(channel, address, request, onAnswer);
  } catch (error) {
    throw ours ?? error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', interrupt);
    socket.destroy();
  }
}

function timedOut(address: PeerAddress, timeoutMs: number): KemariError {
  return new KemariError('KEMARI_PEER_TIMEOUT', `kemarid at ${addressText(address)} did not answer in ${timeoutMs} ms`);
}

function converse<Result>(
  channel: Duplex,
  address: PeerAddress,
  request: unknown,
  onAnswer: (answer: unknown) => Result | undefined,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      reject(new KemariError('KEMARI_PEER_PROTOCOL', `kemarid at ${addressText(address)}: ${reason}`));
    };
    channel.on('error', (error: Error) => {
      fail(error.message);
    });
    channel.on('close', () => {
      fail('it hung up before it answered');
    });
    readJsonLines(
      channel,
      (answer) => {
        try {
          const result = onAnswer(answer);
          if (result !== undefined) resolve(result);
        } catch (error) {
          reject(asKemariError(error));
        }
      },
      (error) => {
        fail(error.message);
      },
      MESSAGE_LIMIT_BYTES,
    );
    channel.resume();
    writeJsonLine(channel, request);
  });
}
