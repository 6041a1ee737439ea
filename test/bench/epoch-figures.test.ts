import test from 'ava';
import { figuresBetween, type EpochCount } from '../../src/bench/epoch-figures.js';
import type { EpochRecord } from '../../src/host/epoch-record.js';

const before: EpochCount = {
  ...{ atMs: 10_000, epoch: 100n, lostGuestMs: 50 },
  ...{ sentBytes: 1000, rawBytes: 5000, sentPages: 3, linkCpuMs: 7 },
};
const after: EpochCount = {
  ...{ atMs: 12_000, epoch: 300n, lostGuestMs: 250 },
  ...{ sentBytes: 2000, rawBytes: 9000, sentPages: 13, linkCpuMs: 27 },
};

/** `epoch` counts from 100 to 300 between the two moments. */
function recordOf(epoch: number, more: Partial<EpochRecord> = {}): EpochRecord {
  const orderedAtMs = epoch * 10;
  const timings = { triggerUs: 100, stopUs: 1, scanUs: 1, copyUs: 1, serializeUs: 1, resumeUs: 1 };
  return {
    ...{
      epoch: String(epoch),
      heldAtMs: orderedAtMs - 1,
      orderedAtMs,
      timings,
      pauseUs: 1500,
      busyShare: 1,
      dirtyPages: 7,
    },
    ...{ bytes: 1, capturedAtMs: orderedAtMs + 2, ackedAtMs: orderedAtMs + 3, link: undefined, ...more },
  };
}

test('only the epochs of the measurement count, not those of the one before it', (t) => {
  const records = [
    recordOf(100, { pauseUs: 90_000, dirtyPages: 9_000 }),
    recordOf(101),
    recordOf(300),
    recordOf(301, { pauseUs: 90_000, dirtyPages: 9_000 }),
  ];
  const figures = figuresBetween(before, after, records)!;
  t.is(figures.pauseP50Us, 1500);
  t.is(figures.pauseP99Us, 1500);
  t.is(figures.dirtyPages, 7);
  t.is(figures.releaseP50Us, 4000);
});

test('rates and shares are by the counters, also where more epochs passed than are kept', (t) => {
  const figures = figuresBetween(before, after, [recordOf(200)])!;
  t.is(figures.perSecond, 100);
  t.is(figures.pauseShare, 0.1);
  t.is(figures.sentBytes, 1000);
  t.is(figures.rawBytes, 4000);
  t.is(figures.sentPages, 10);
  t.is(figures.linkCpuMs, 20);
});

test('a guest that is held until the ack stands still until the ack', (t) => {
  const held = recordOf(200, { timings: { ...recordOf(0).timings, resumeUs: 0 }, ackedAtMs: 2_004 });
  t.is(figuresBetween(before, after, [held])!.pauseP50Us, 3900);
});

test('without an epoch there are no figures, and without a held request none of its release', (t) => {
  t.is(figuresBetween(before, after, [recordOf(90)]), undefined);
  t.is(figuresBetween(before, after, [recordOf(200, { heldAtMs: undefined })])!.releaseP50Us, undefined);
});

test('the parts of an epoch follow each other from the order to the ack', (t) => {
  const timings = { triggerUs: 100, stopUs: 200, scanUs: 300, copyUs: 400, serializeUs: 1000, resumeUs: 500 };
  const link = { encodeUs: 60, sendUs: 70, ackUs: 800, releaseUs: 90 };
  const figures = figuresBetween(before, after, [recordOf(200, { timings, link })])!;
  const capture = { trigger: 100, stop: 200, scan: 300, copy: 400, state: 300, resume: 500 };
  t.deepEqual(figures.parts, { ...capture, encode: 60, send: 70, ack: 800, release: 90 });
});

test('of the link only those epochs tell that had an ack of their own', (t) => {
  const link = { encodeUs: 60, sendUs: 70, ackUs: 800, releaseUs: 90 };
  const figures = figuresBetween(before, after, [recordOf(200), recordOf(210, { link }), recordOf(220)])!;
  t.like(figures.parts, { encode: 60, ack: 800 });
  t.false('encode' in figuresBetween(before, after, [recordOf(200)])!.parts!);
});

test('a state that is whole before the copy takes no time of its own', (t) => {
  const timings = { triggerUs: 0, stopUs: 0, scanUs: 300, copyUs: 400, serializeUs: 600, resumeUs: 0 };
  t.is(figuresBetween(before, after, [recordOf(200, { timings })])!.parts!.state, 0);
});
