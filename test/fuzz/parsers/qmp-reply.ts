import { KemariError } from '../../../src/base/errors.js';
import { decodeQmp, type QmpMessage } from '../../../src/hypervisor/qemu/qmp-decoder.js';
import { parseRamBlocks } from '../../../src/hypervisor/qemu/ram-blocks.js';
import type { ParserTarget } from '../parser-target.js';

const ALLOWED = ['KEMARI_QMP_MALFORMED', 'KEMARI_QMP_OVERSIZED'];

const BLOCKS = [
  '              Block Name    PSize              Offset               Used              Total                HVA  RO',
  '                  pc.ram    4 KiB  0x0000000000000000 0x0000000020000000 0x0000000020000000 0x00007f3a5be00000  rw',
  '',
].join('\\n');

/** What QEMU says: greeting, replies, errors, events, and the one reply that is a table for people. */
export const target: ParserTarget = {
  seeds: [
    '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n',
    '{"return": {}, "id": 1}\r\n{"timestamp": {"seconds": 1}, "event": "STOP"}\r\n',
    '{"id": 2, "error": {"class": "GenericError", "desc": "no"}}\r\n{"error": {"class": "GenericError", "desc": "x"}}\r\n',
    `{"return": {"human-readable-text": "${BLOCKS}"}, "id": 3}\r\n`,
  ],
  words: ['"return"', '"error"', '"event"', '"id"', '"QMP"', '"desc"', '"human-readable-text"', '0x', ' rw', '[', '\n'],
  tryOne(input) {
    const whole = decode([input]);
    const cut = input.length >> 1;
    if (decode([input.subarray(0, cut), input.subarray(cut)]) !== whole) {
      throw new Error('messages mean something else when they come in pieces');
    }
    return whole;
  },
};

function decode(pieces: readonly Buffer[]): string {
  const outcomes: string[] = [];
  try {
    let rest: Buffer = Buffer.alloc(0);
    for (const piece of pieces) {
      const decoded = decodeQmp(rest, piece);
      rest = decoded.rest;
      outcomes.push(...decoded.messages.map(describe));
    }
  } catch (error) {
    if (!(error instanceof KemariError) || !ALLOWED.includes(error.code)) throw error;
    // What came before it in the same piece is lost with it, so pieces may differ there.
    return error.message.split('): ')[0]!;
  }
  return outcomes.join('; ');
}

function describe(message: QmpMessage): string {
  if (message.type !== 'return') return message.type === 'error' ? `error ${message.errorClass}` : message.type;
  try {
    return `${parseRamBlocks(message.value).length} blocks`;
  } catch (error) {
    if (!(error instanceof KemariError)) throw error;
    return error.code;
  }
}
