import test from 'ava';
import { chromeTrace } from '../../src/host/chrome-trace.js';
import type { EpochRecord } from '../../src/host/epoch-record.js';

const timings = { triggerUs: 20, stopUs: 300, scanUs: 100, copyUs: 200, serializeUs: 700, resumeUs: 150 };
const record: EpochRecord = {
  ...{ epoch: '7', heldAtMs: 1000, orderedAtMs: 1000.5, capturedAtMs: 1001.8, ackedAtMs: 1003 },
  ...{ timings, pauseUs: 1150, busyShare: 0.25, dirtyPages: 40, bytes: 190_000 },
  link: { encodeUs: 120, sendUs: 80, ackUs: 900, releaseUs: 50 },
};

test('an epoch is spans that fit into each other', (t) => {
  const { traceEvents } = chromeTrace('web', [record, { ...record, epoch: '8', heldAtMs: undefined }]);
  const of = (name: string): { ts: number; end: number }[] =>
    traceEvents
      .filter((event) => event.name === name)
      .map(({ ts = NaN, dur = NaN }) => ({ ts: Math.round(ts), end: Math.round(ts + dur) }));
  t.deepEqual(of('held'), [{ ts: 0, end: 3000 }]);
  t.deepEqual(of('trigger')[0], { ts: 500, end: 520 });
  t.deepEqual(of('stands still')[0], { ts: 520, end: 1670 });
  t.deepEqual(of('stop')[0], { ts: 520, end: 820 });
  t.deepEqual(of('scan')[0], { ts: 820, end: 920 });
  t.deepEqual(of('copy')[0], { ts: 920, end: 1120 });
  t.deepEqual(of('serialize')[0], { ts: 820, end: 1520 });
  t.deepEqual(of('resume')[0], { ts: 1520, end: 1670 });
  t.deepEqual(of('encode')[0], { ts: 1850, end: 1970 });
  t.deepEqual(of('send')[0], { ts: 1970, end: 2050 });
  t.deepEqual(of('receive, check, ack')[0], { ts: 2050, end: 2950 });
  t.deepEqual(of('release')[0], { ts: 2950, end: 3000 });
});

test('a guest that is held until the ack has no resume yet', (t) => {
  const { traceEvents } = chromeTrace('web', [{ ...record, timings: { ...timings, resumeUs: 0 } }]);
  t.false(traceEvents.some(({ name }) => name === 'resume'));
});

test('of an epoch that was acknowledged with a later one, its way over the link is not known', (t) => {
  const { traceEvents } = chromeTrace('web', [{ ...record, link: undefined }]);
  t.false(traceEvents.some(({ name }) => ['encode', 'send', 'receive, check, ack', 'release'].includes(name)));
});

test('a trace of no epochs is one that a viewer opens', (t) => {
  t.true(chromeTrace('web', []).traceEvents.every(({ ph }) => ph === 'M'));
});
