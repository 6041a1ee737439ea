import test from 'ava';
import fc from 'fast-check';
import { waitUntil } from '../../src/base/deadline.js';
import { asKemariError, errorFromWire, errorToWire, KemariError } from '../../src/base/errors.js';
import { readableLogLine } from '../../src/base/log-line.js';
import { suggest } from '../../src/base/suggest.js';

test('an error is the same after its way through a JSON line', (t) => {
  const error = new KemariError('KEMARI_TESTING', 'message', { cause: new Error('x'), details: { answer: 42 } });
  const copy = errorFromWire(JSON.parse(JSON.stringify(errorToWire(error))));
  t.deepEqual([copy.code, copy.message, copy.details], [error.code, error.message, error.details]);
});

test('whatever another process sends as an error becomes a KemariError', (t) => {
  fc.assert(fc.property(fc.anything(), (value) => errorFromWire(value) instanceof KemariError));
  t.is(errorFromWire(undefined).code, 'KEMARI_PROTOCOL');
  t.is(errorFromWire({ code: 'KEMARI_x', message: 'm' }).code, 'KEMARI_PROTOCOL');
  t.deepEqual(errorFromWire({ code: 'KEMARI_X', message: 'm', details: 7 }).details, {});
});

test('an error of the addon keeps its code, and a mistake of ours is internal', (t) => {
  const native = Object.assign(new Error('no tap'), { code: 'KEMARI_NET_TAP', errno: 16, syscall: 'ioctl' });
  t.deepEqual(errorToWire(native), {
    code: 'KEMARI_NET_TAP',
    message: 'no tap',
    details: { errno: 16, syscall: 'ioctl' },
  });
  t.is(asKemariError(new TypeError('x')).code, 'KEMARI_INTERNAL');
  t.is(asKemariError(Object.assign(new Error('x'), { code: 'ENOENT' })).code, 'KEMARI_INTERNAL');
  t.is(asKemariError('text').message, 'text');
});

test('waiting ends when the condition holds, or when its time is over', async (t) => {
  let asked = 0;
  t.true(await waitUntil(() => ++asked === 3, { timeoutMs: 10_000, everyMs: 1 }));
  t.is(asked, 3);
  t.false(await waitUntil(() => Promise.resolve(false), { timeoutMs: 5, everyMs: 1 }));
});

test('the word that was meant is found, and none where none is near', (t) => {
  const words = ['memory', 'vcpus', 'name', 'on_crash'];
  t.is(suggest('memroy', words), 'memory');
  t.is(suggest('VCPU', words), 'vcpus');
  t.is(suggest('on-crash', words), 'on_crash');
  t.is(suggest('frobnicate', words), undefined);
  t.is(suggest('n'.repeat(10_000), words), undefined);
});

test('a line of the log is readable, and what is no record stays as it is', (t) => {
  const time = '2026-11-20T12:48:14.571Z';
  const line = (record: object): string => readableLogLine(JSON.stringify({ time, ...record }));
  t.is(line({ level: 30, msg: 'the guest runs' }), `${time} the guest runs`);
  t.is(line({ level: 30, source: 'console', msg: 'login:' }), `${time} console: login:`);
  t.is(line({ level: 50, msg: 'no', err: { message: 'why' } }), `${time} ERROR no: why`);
  for (const other of ['', 'null', '7', '{}', '{"msg":1}', 'Error: x', '{"msg":"a","time":1}']) {
    t.is(readableLogLine(other), other);
  }
});
