import test from 'ava';
import { captureCostUs, PACING_BURST_US, readyAtMs, regime, spend, startPacing } from '../../src/engine/pacing.js';
import {
  CONSOLE_LATENCY_MS,
  MAX_UNACKED_BYTES,
  MAX_UNACKED_EPOCHS,
  MAX_UNACKED_WIRE_MS,
  nextCaptureMs,
  resumeAfter,
  type SyncFacts,
} from '../../src/engine/policy.js';
import { noteWire, startWirePace } from '../../src/engine/wire-pace.js';

const quiet: SyncFacts = {
  heldSinceMs: undefined,
  consoleSinceMs: undefined,
  lastCaptureMs: 1000,
  dirtyLimitReached: false,
  unackedEpochs: 0,
  unackedBytes: 0,
  standing: false,
  pauseUntold: false,
  maxAgeMs: 1000,
  pacing: startPacing(0.2, 1000),
  wire: startWirePace(0, 1000),
};
const kemari = { kind: 'kemari', strict: false } as const;
const strict = { kind: 'kemari', strict: true } as const;
const remus = { kind: 'remus', intervalMs: 100 } as const;

test('a held request is synchronized at once', (t) => {
  t.is(nextCaptureMs(kemari, { ...quiet, heldSinceMs: 1200 }), 1200);
});

test('console bytes alone wait for the console latency, not for the age', (t) => {
  t.is(nextCaptureMs(kemari, { ...quiet, consoleSinceMs: 1200 }), 1200 + CONSOLE_LATENCY_MS);
});

test('a silent guest is synchronized at its maximal age', (t) => {
  t.is(nextCaptureMs(kemari, quiet), 2000);
});

test('too many dirty pages are reason enough', (t) => {
  t.is(nextCaptureMs(kemari, { ...quiet, dirtyLimitReached: true }), 1000);
});

test('remus goes by its interval, whatever is held', (t) => {
  t.is(nextCaptureMs(remus, { ...quiet, heldSinceMs: 1001 }), 1100);
});

test('strict captures nothing while an epoch waits for its ack', (t) => {
  t.is(nextCaptureMs(strict, { ...quiet, heldSinceMs: 1200, unackedEpochs: 1 }), undefined);
  t.is(nextCaptureMs(kemari, { ...quiet, heldSinceMs: 1200, unackedEpochs: 1 }), 1200);
});

test('epochs on their way are bounded', (t) => {
  t.is(nextCaptureMs(kemari, { ...quiet, heldSinceMs: 1200, unackedEpochs: MAX_UNACKED_EPOCHS }), undefined);
});

test('a link that is behind with its bytes gets no more of them', (t) => {
  t.is(
    nextCaptureMs(kemari, { ...quiet, heldSinceMs: 1200, unackedEpochs: 1, unackedBytes: MAX_UNACKED_BYTES + 1 }),
    undefined,
  );
});

test('a link that needs long for what is on its way gets the next epoch once it is free', (t) => {
  const wire = noteWire(startWirePace(0, 1000), [{ sentFromMs: 1000, bytes: 1000 }], 1000 + MAX_UNACKED_WIRE_MS);
  const held = { ...quiet, heldSinceMs: 1200, wire };
  t.is(nextCaptureMs(kemari, { ...held, unackedEpochs: 1, unackedBytes: 1000 }), 1200);
  t.is(nextCaptureMs(kemari, { ...held, unackedEpochs: 1, unackedBytes: 1001 }), undefined);
  t.is(nextCaptureMs(kemari, held), 1200);
});

test('a guest that goes on writing behind a full link is stopped until the standby has caught up', (t) => {
  const full = { ...quiet, unackedEpochs: MAX_UNACKED_EPOCHS, dirtyLimitReached: true };
  t.is(nextCaptureMs(kemari, full), 1000);
  t.is(resumeAfter(kemari, full), 'after-ack');
  t.is(nextCaptureMs(kemari, { ...full, unackedEpochs: MAX_UNACKED_EPOCHS + 1, standing: true }), undefined);
  t.is(resumeAfter(kemari, { ...quiet, dirtyLimitReached: true }), 'at-once');
});

test('under sustained output pauses take their share of the time and no more', (t) => {
  let pacing = startPacing(0.2, 0);
  let nowMs = 0;
  let pausedUs = 0;
  while (nowMs < 10_000) {
    nowMs = Math.max(nowMs, readyAtMs(pacing)) + 0.01;
    pacing = spend(pacing, 2_000, nowMs);
    pausedUs += 2_000;
  }
  const share = (pausedUs - PACING_BURST_US - 2_000) / (nowMs * 1000);
  t.true(share <= 0.2, `share ${share}`);
  t.true(share > 0.19, `share ${share}`);
  t.is(regime(pacing, nowMs), 'paced');
});

test('a guest that waits for the answer to what it sent is synchronized at once, however often', (t) => {
  let pacing = startPacing(0.2, 0);
  // Two of three milliseconds it stands still, and a tenth of the rest it computes.
  for (let nowMs = 3; nowMs < 3000; nowMs += 3) {
    t.true(readyAtMs(pacing) <= nowMs);
    pacing = spend(pacing, captureCostUs(2_000, 0.1, 100), nowMs);
  }
  t.is(captureCostUs(2_000, 1, 0), 2_000);
});

test('sparse output never waits for credit', (t) => {
  let pacing = startPacing(0.2, 0);
  for (let nowMs = 20; nowMs < 2000; nowMs += 20) {
    t.true(readyAtMs(pacing) <= nowMs);
    pacing = spend(pacing, 2_000, nowMs);
  }
});
