import test from 'ava';
import fc from 'fast-check';
import { KemariError } from '../../../src/base/errors.js';
import { decodeQmp, QMP_MAX_LINE_BYTES, type QmpMessage } from '../../../src/hypervisor/qemu/qmp-decoder.js';

const NOTHING = Buffer.alloc(0);

function decode(text: string): readonly QmpMessage[] {
  return decodeQmp(NOTHING, Buffer.from(text)).messages;
}

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}\r\n';

test('what QEMU says is understood', (t) => {
  t.deepEqual(decode(GREETING), [{ type: 'greeting', version: { micro: 22, minor: 2, major: 7 } }]);
  t.deepEqual(decode('{"return": {}, "id": 3}\r\n'), [{ type: 'return', id: 3, value: {} }]);
  t.deepEqual(decode('{"id": 4, "error": {"class": "GenericError", "desc": "no"}}\r\n'), [
    { type: 'error', id: 4, errorClass: 'GenericError', description: 'no' },
  ]);
  t.deepEqual(decode('{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'), [
    { type: 'event', name: 'STOP', data: {} },
  ]);
});

test('messages are found wherever the stream is cut', (t) => {
  const text = GREETING + '{"return": {}, "id": 1}\r\n{"event": "RESET", "data": {"guest": true}}\r\n';
  const whole = decode(text);
  t.is(whole.length, 3);
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const bounds = [0, ...cuts.sort((a, b) => a - b), text.length];
      let rest: Buffer = NOTHING;
      const messages: QmpMessage[] = [];
      for (const [index, end] of bounds.entries()) {
        const decoded = decodeQmp(rest, Buffer.from(text.slice(bounds[index - 1] ?? 0, end)));
        rest = decoded.rest;
        messages.push(...decoded.messages);
      }
      t.deepEqual(messages, [...whole]);
    }),
  );
});

const malformed = [
  'hello\n',
  '[]\n',
  '"return"\n',
  '{"return": {}}\n',
  '{"return": {}, "id": "1"}\n',
  '{"error": "no", "id": 1}\n',
  '{"error": {"class": "X"}, "id": 1}\n',
  '{"event": 5}\n',
  '{"event": "STOP", "data": []}\n',
  '{"QMP": {}}\n',
  '{"QMP": {"version": {"qemu": {"major": "7"}}}}\n',
  '{}\n',
  '{"return": {}, "id": 1\n',
];

test('what is no QMP message is refused', (t) => {
  for (const line of malformed)
    t.throws(() => decode(line), { instanceOf: KemariError, code: 'KEMARI_QMP_MALFORMED' }, line);
});

test('a line without end is refused before it fills the memory', (t) => {
  const long = Buffer.alloc(QMP_MAX_LINE_BYTES + 1, 0x20);
  t.throws(() => decodeQmp(NOTHING, long), { code: 'KEMARI_QMP_OVERSIZED' });
  const almost = decodeQmp(NOTHING, long.subarray(1));
  t.is(almost.rest.length, QMP_MAX_LINE_BYTES);
  t.throws(() => decodeQmp(almost.rest, Buffer.from(' ')), { code: 'KEMARI_QMP_OVERSIZED' });
});

test('bytes of any kind are decoded or refused, never more', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        decodeQmp(NOTHING, Buffer.from(bytes));
      } catch (error) {
        return error instanceof KemariError;
      }
      return true;
    }),
  );
  t.pass();
});
