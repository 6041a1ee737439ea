import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { readJsonLines } from '../../src/base/json-lines.js';
import { MESSAGE_LIMIT_BYTES } from '../../src/wire/control-connection.js';

/**
 * Reads octets as the lines of a control connection, whole and then in two pieces, and says what came of them. How they
 * were cut must not matter. Throws what `onValue` throws.
 */
export function feedLines(octets: Buffer, onValue: (value: unknown) => string): string {
  const whole = feed([octets], onValue);
  const cut = octets.length >> 1;
  if (feed([octets.subarray(0, cut), octets.subarray(cut)], onValue) !== whole) {
    throw new Error('lines mean something else when they come in pieces');
  }
  return whole;
}

function feed(pieces: readonly Buffer[], onValue: (value: unknown) => string): string {
  // A socket without a socket: readJsonLines listens to nothing but its data.
  const socket = new EventEmitter();
  const outcomes: string[] = [];
  readJsonLines(
    socket as unknown as Duplex,
    (value) => outcomes.push(onValue(value)),
    (error) => outcomes.push(error.message),
    MESSAGE_LIMIT_BYTES,
  );
  for (const piece of pieces) socket.emit('data', piece);
  return outcomes.join('; ');
}
