import { connect, type Socket } from 'node:net';
import { KemariError, errorFromWire } from '../base/errors.js';
import type { ControlReplies, ControlRequest, EventVerb, ProtectionEvent } from './contract.js';
import { readJsonLines, writeJsonLine } from '../base/json-lines.js';

/** How long a kemari-dm may take to answer, by what it has to do. */
export const REPLY_TIMEOUT_MS: Readonly<Record<Exclude<ControlRequest['verb'], EventVerb>, number>> = {
  info: 5_000,
  pause: 10_000,
  unpause: 10_000,
  shutdown: 10_000,
  reboot: 10_000,
  // A fence may have to end first.
  takeover: 120_000,
  disarm: 10_000,
  destroy: 20_000,
  // A silent standby is waited for until its lease is over, a handover until the standby has answered.
  unprotect: 30_000,
  switchover: 30_000,
  'resume-unprotected': 10_000,
  trace: 10_000,
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
export async function request<R extends Exclude<ControlRequest, { verb: EventVerb }>>(
  target: RequestTarget,
  body: R,
  timeoutMs: number = REPLY_TIMEOUT_MS[body.verb],
): Promise<ControlReplies[R['verb']]> {
  const reply = await exchange(target, body, { timeoutMs });
  if ('error' in reply) throw errorFromWire(reply.error);
  return reply.result as ControlReplies[R['verb']];
}

/** A kemari-dm that is watched says something every second. */
export const WATCH_TIMEOUT_MS = 15_000;

/**
 * Asks for something that goes on for long and hands over its events until the reply. Undefined: `signal` ended the
 * watching, and nothing else.
 *
 * Errors: as for `request`, with WATCH_TIMEOUT_MS from one event to the next.
 */
export async function watch<R extends Extract<ControlRequest, { verb: EventVerb }>>(
  target: RequestTarget,
  body: R,
  onEvent: (event: ProtectionEvent) => void,
  signal: AbortSignal,
): Promise<ControlReplies[R['verb']] | undefined> {
  const reply = await exchange(target, body, { timeoutMs: WATCH_TIMEOUT_MS, onEvent, signal });
  if ('error' in reply) throw errorFromWire(reply.error);
  return reply.result as ControlReplies[R['verb']] | undefined;
}

interface ExchangeOptions {
  /** From one thing that is heard to the next. */
  readonly timeoutMs: number;
  readonly onEvent?: (event: ProtectionEvent) => void;
  readonly signal?: AbortSignal;
}

function exchange(target: RequestTarget, body: ControlRequest, options: ExchangeOptions): Promise<Reply> {
  const { timeoutMs, onEvent, signal } = options;
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(target.controlSocket);
    const settle = (outcome: Reply | KemariError): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.destroy();
      if (outcome instanceof KemariError) reject(outcome);
      else resolve(outcome);
    };
    const onAbort = (): void => {
      settle({ result: undefined });
    };
    signal?.addEventListener('abort', onAbort);
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
        const event = eventOf(value);
        if (event === undefined || onEvent === undefined) {
          settle(checkReply(value));
          return;
        }
        timer.refresh();
        onEvent(event);
      },
      settle,
    );
    writeJsonLine(socket, { id: REQUEST_ID, ...body });
    if (signal?.aborted === true) onAbort();
  });
}

type Reply = { readonly result: unknown } | { readonly error: unknown };

/** One request a connection: its number is always the same. */
const REQUEST_ID = 1;

function eventOf(value: unknown): ProtectionEvent | undefined {
  const { id, event } = (value ?? {}) as { id?: unknown; event?: { type?: unknown } };
  return id === REQUEST_ID && typeof event?.type === 'string' ? (event as ProtectionEvent) : undefined;
}

function checkReply(value: unknown): Reply | KemariError {
  const reply = (value ?? {}) as { id?: unknown; result?: unknown; error?: unknown };
  if (reply.error !== undefined) return { error: reply.error };
  if (reply.id === REQUEST_ID && reply.result !== undefined) return { result: reply.result };
  return new KemariError('KEMARI_PROTOCOL', `unexpected reply on the control socket: ${JSON.stringify(value)}`);
}
