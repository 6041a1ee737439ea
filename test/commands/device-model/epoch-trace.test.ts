import test from 'ava';
import type { EpochRecord } from '../../../src/host/epoch-record.js';
import { EpochTrace, TRACE_EPOCHS } from '../../../src/commands/device-model/epoch-trace.js';
import { LINE_LIMIT_BYTES } from '../../../src/base/json-lines.js';

const timings = { triggerUs: 0, stopUs: 0, scanUs: 0, copyUs: 0, serializeUs: 0, resumeUs: 0 };

function recordOf(epoch: number): EpochRecord {
  const times = { heldAtMs: 1, orderedAtMs: 1, capturedAtMs: 1, ackedAtMs: 1 };
  return {
    epoch: String(epoch),
    ...times,
    timings,
    pauseUs: 1,
    busyShare: 1,
    dirtyPages: 1,
    bytes: 1,
    link: undefined,
  };
}

test('the last epochs are kept, oldest first', (t) => {
  const trace = new EpochTrace();
  t.deepEqual(trace.read(), []);
  for (let epoch = 1; epoch <= TRACE_EPOCHS + 3; epoch++) trace.add(recordOf(epoch));
  const kept = trace.read().map(({ epoch }) => Number(epoch));
  t.is(kept.length, TRACE_EPOCHS);
  t.deepEqual([kept[0], kept.at(-1)], [4, TRACE_EPOCHS + 3]);
});

test('all that is kept fits into one reply', (t) => {
  const us = 123_456.789;
  const atMs = 1_795_269_542_123.456;
  const trace = new EpochTrace();
  const long = { triggerUs: us, stopUs: us, scanUs: us, copyUs: us, serializeUs: us, resumeUs: us };
  const times = { heldAtMs: atMs, orderedAtMs: atMs, capturedAtMs: atMs, ackedAtMs: atMs };
  const link = { encodeUs: us, sendUs: us, ackUs: us, releaseUs: us };
  const record = {
    link,
    epoch: '18446744073709551615',
    timings: long,
    pauseUs: us,
    dirtyPages: 131_072,
    bytes: 536_870_912,
  };
  for (let epoch = 0; epoch < TRACE_EPOCHS; epoch++) trace.add({ ...record, ...times, busyShare: 1 / 3 });
  t.true(JSON.stringify(trace.read()).length < LINE_LIMIT_BYTES / 1.2);
});
