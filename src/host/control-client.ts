import { connect, type Socket } from 'node:net';
import { KemariError, errorFromWire } from '../base/errors.js';
import type { ControlReplies, ControlRequest } from './contract.js';
import { readJsonLines, writeJsonLine } from '../base/json-lines.js';

/** How long a kemari-dm may take to answer, by what it has to do. */
export const REPLY_TIMEOUT_MS: Readonly<Record<ControlRequest['verb'], number>> = {
  info: 5_000,
  pause: 10_000,
  unpause: 10_000,
  shutdown: 10_000,
  reboot: 10_000,
  destroy: 10_000,
  // A fence may have to end first.
  takeover: 120_000,
  disarm: 10_000,
  'bench-stop-cont': 120_000,
};

/** The domain a request goes to, for messages. */
export interface RequestTarget {
  readonly name: string;
  readonly controlSocket: string;
}

/**
 * Asks a domain's kemari-dm and waits for its reply, on a connection of its own.
 *
 * Errors: whatever the kemari-dm answers; `KEMARI_NOT_RESPONDING` when it takes longer than `timeoutMs`;
 * `KEMARI_NO_CONNECTION` when it does not listen (it is starting or ending) or hangs up; `KEMARI_PROTOCOL`.
 */
export async function request<R extends ControlRequest>(
  target: RequestTarget,
  body: R,
  timeoutMs: number = REPLY_TIMEOUT_MS[body.verb],
): Promise<ControlReplies[R['verb']]> {
  const reply = await exchange(target, body, timeoutMs);
  if ('error' in reply) throw errorFromWire(reply.error);
  return reply.result as ControlReplies[R['verb']];
}

function exchange(target: RequestTarget, body: ControlRequest, timeoutMs: number): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(target.controlSocket);
    const settle = (outcome: Reply | KemariError): void => {
      clearTimeout(timer);
      socket.destroy();
      if (outcome instanceof KemariError) reject(outcome);
      else resolve(outcome);
    };
    const timer = setTimeout(() => {
      settle(
        new KemariError(
          'KEMARI_NOT_RESPONDING',
          `kemari-dm of domain "${target.name}" did not answer "${body.verb}" within ${timeoutMs} ms; ` +
            `"kemari log ${target.name}" may say why, "kemari destroy ${target.name}" ends it all the same`,
        ),
      );
    }, timeoutMs);
    socket.on('error', (error) => {
      settle(
        new KemariError(
          'KEMARI_NO_CONNECTION',
          `cannot reach kemari-dm of domain "${target.name}": ${error.message}; it is starting or ending`,
          { cause: error },
        ),
      );
    });
    // Ignored when a reply has settled it.
    socket.on('close', () => {
      settle(
        new KemariError(
          'KEMARI_NO_CONNECTION',
          `kemari-dm of domain "${target.name}" hung up before it answered "${body.verb}"`,
        ),
      );
    });
    readJsonLines(
      socket,
      (value) => {
        settle(checkReply(value));
      },
      settle,
    );
    writeJsonLine(socket, { id: REQUEST_ID, ...body });
  });
}

type Reply = { readonly result: unknown } | { readonly error: unknown };

/** One request a connection: its number is always the same. */
const REQUEST_ID = 1;

function checkReply(value: unknown): Reply | KemariError {
  const reply = (value ?? {}) as { id?: unknown; result?: unknown; error?: unknown };
  if (reply.error !== undefined) return { error: reply.error };
  if (reply.id === REQUEST_ID && reply.result !== undefined) return { result: reply.result };
  return new KemariError('KEMARI_PROTOCOL', `unexpected reply on the control socket: ${JSON.stringify(value)}`);
}
