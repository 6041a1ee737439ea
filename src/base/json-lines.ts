import type { Duplex } from 'node:stream';
import { KemariError, messageOf } from './errors.js';

/** The longest line that is accepted where the caller names no limit: no request or reply of ours comes near it. */
export const LINE_LIMIT_BYTES = 1 << 20;

/**
 * How deep objects and lists may lie within each other. JSON.parse takes any depth, but much of what is done with a value
 * afterwards, JSON.stringify first of all, ends at a few thousand with a RangeError.
 */
export const DEPTH_LIMIT = 64;

const NEWLINE = 0x0a;

/**
 * Calls `onValue` for each JSON line of a socket, in order, and `onError` once when what arrives is no JSON, or exceeds
 * the limit or `DEPTH_LIMIT` (`KEMARI_PROTOCOL`); nothing is read after that.
 */
export function readJsonLines(
  socket: Duplex,
  onValue: (value: unknown) => void,
  onError: (error: KemariError) => void,
  limitBytes = LINE_LIMIT_BYTES,
): void {
  let parts: Buffer[] = [];
  let partsBytes = 0;
  const onData = (data: Buffer): void => {
    let rest = data;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      if (partsBytes + end > limitBytes) {
        fail(`a line is longer than ${limitBytes} bytes`);
        return;
      }
      const line = Buffer.concat([...parts, rest.subarray(0, end)]).toString('utf8');
      parts = [];
      partsBytes = 0;
      rest = rest.subarray(end + 1);
      if (isDeeper(line, DEPTH_LIMIT)) {
        fail(`a line has values that lie more than ${DEPTH_LIMIT} deep`);
        return;
      }
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch (error) {
        fail(`a line is no JSON: ${messageOf(error)}`);
        return;
      }
      onValue(value);
    }
    parts.push(rest);
    partsBytes += rest.length;
    if (partsBytes > limitBytes) fail(`a line is longer than ${limitBytes} bytes`);
  };
  const fail = (reason: string): void => {
    socket.off('data', onData);
    onError(new KemariError('KEMARI_PROTOCOL', `what arrived is not understood: ${reason}`));
  };
  socket.on('data', onData);
}

/** Whether a text that may be JSON opens more brackets within each other than `limit`. One pass, whatever the text. */
function isDeeper(text: string, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (inString) {
      if (letter === '\\') at++;
      else if (letter === '"') inString = false;
    } else if (letter === '"') inString = true;
    else if (letter === '[' || letter === '{') depth++;
    else if (letter === ']' || letter === '}') depth--;
    if (depth > limit) return true;
  }
  return false;
}

/** Writes one value as a line. */
export function writeJsonLine(socket: Duplex, value: unknown): void {
  socket.write(`${JSON.stringify(value)}\n`);
}
