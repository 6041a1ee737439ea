import type { Duplex } from 'node:stream';
import { KemariError, messageOf } from './errors.js';

/** The longest line that is accepted where the caller names no limit: no request or reply of ours comes near it. */
export const LINE_LIMIT_BYTES = 1 << 20;

const NEWLINE = 0x0a;

/**
 * Calls `onValue` for each JSON line of a socket, in order, and `onError` once when what arrives is no JSON or exceeds
 * the limit (`KEMARI_PROTOCOL`); nothing is read after that.
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

/** Writes one value as a line. */
export function writeJsonLine(socket: Duplex, value: unknown): void {
  socket.write(`${JSON.stringify(value)}\n`);
}
