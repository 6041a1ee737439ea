import { KemariError, messageOf } from '../../base/errors.js';

/** One message of QEMU (docs/interop/qmp-spec). */
export type QmpMessage =
  | { readonly type: 'greeting'; readonly version: QmpVersion }
  | { readonly type: 'return'; readonly id: number; readonly value: unknown }
  /** `id` is undefined when QEMU could not read the command that it answers. */
  | {
      readonly type: 'error';
      readonly id: number | undefined;
      readonly errorClass: string;
      readonly description: string;
    }
  | { readonly type: 'event'; readonly name: string; readonly data: Readonly<Record<string, unknown>> };

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
}

/** What was decoded, and the bytes of an incomplete line to pass with the next call. */
export interface QmpDecoded {
  readonly messages: readonly QmpMessage[];
  readonly rest: Buffer;
}

/** The longest line we take; the largest reply we ask for has some KiB. */
export const QMP_MAX_LINE_BYTES = 1 << 20;

const LINE_FEED = 0x0a;

/**
 * Splits what came from QEMU into messages: one JSON object a line. Pure.
 *
 * Errors: `KEMARI_QMP_OVERSIZED` for a line longer than `QMP_MAX_LINE_BYTES`, `KEMARI_QMP_MALFORMED` for one that is no
 * message.
 */
export function decodeQmp(rest: Buffer, chunk: Buffer): QmpDecoded {
  const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
  const messages: QmpMessage[] = [];
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(LINE_FEED, start);
    const lengthBytes = (end < 0 ? bytes.length : end) - start;
    if (lengthBytes > QMP_MAX_LINE_BYTES) {
      throw new KemariError(
        'KEMARI_QMP_OVERSIZED',
        `QEMU sent a QMP line of at least ${lengthBytes} bytes; at most ${QMP_MAX_LINE_BYTES} are taken`,
      );
    }
    if (end < 0) return { messages, rest: bytes.subarray(start) };
    const line = bytes.toString('utf8', start, end).trim();
    if (line !== '') messages.push(decodeLine(line));
    start = end + 1;
  }
}

function decodeLine(line: string): QmpMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw malformed(line, messageOf(error), error);
  }
  if (!isRecord(value)) throw malformed(line, 'not an object');
  if ('return' in value) return { type: 'return', id: replyId(value, line), value: value['return'] };
  if ('error' in value) return decodeError(value, line);
  if ('event' in value) return decodeEvent(value, line);
  if ('QMP' in value) return { type: 'greeting', version: greetingVersion(value['QMP'], line) };
  throw malformed(line, 'neither greeting, return, error nor event');
}

function replyId(message: Record<string, unknown>, line: string): number {
  const id = message['id'];
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) throw malformed(line, 'a reply without the id we sent');
  return id;
}

function decodeError(message: Record<string, unknown>, line: string): QmpMessage {
  const error = message['error'];
  if (!isRecord(error) || typeof error['class'] !== 'string' || typeof error['desc'] !== 'string') {
    throw malformed(line, 'an error without class and desc');
  }
  const id = 'id' in message ? replyId(message, line) : undefined;
  return { type: 'error', id, errorClass: error['class'], description: error['desc'] };
}

function decodeEvent(message: Record<string, unknown>, line: string): QmpMessage {
  const name = message['event'];
  const data = message['data'] ?? {};
  if (typeof name !== 'string' || !isRecord(data)) throw malformed(line, 'an event without a name or with odd data');
  return { type: 'event', name, data };
}

function greetingVersion(greeting: unknown, line: string): QmpVersion {
  const version = isRecord(greeting) ? greeting['version'] : undefined;
  const qemu = isRecord(version) ? version['qemu'] : undefined;
  if (!isRecord(qemu)) throw malformed(line, 'a greeting without a version');
  const { major, minor, micro } = qemu;
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') {
    throw malformed(line, 'a greeting with an odd version');
  }
  return { major, minor, micro };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How much of a bad line an error quotes. */
const QUOTED_CHARACTERS = 120;

function malformed(line: string, why: string, cause?: unknown): KemariError {
  const quoted = line.length > QUOTED_CHARACTERS ? `${line.slice(0, QUOTED_CHARACTERS)}...` : line;
  return new KemariError('KEMARI_QMP_MALFORMED', `QEMU sent no QMP message (${why}): ${quoted}`, { cause });
}
