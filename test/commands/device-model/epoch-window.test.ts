import test from 'ava';
import { EpochWindow, WINDOW_MS } from '../../../src/commands/device-model/epoch-window.js';

test('counters look back so far and no further', (t) => {
  const window = new EpochWindow(0);
  window.addEpoch({ atMs: 100, pauseUs: 9000, dirtyPages: 9, bytes: 9 });
  for (let atMs = 15_000; atMs < 20_000; atMs += 50) {
    window.addEpoch({ atMs, pauseUs: 1000 + (atMs % 100) * 10, dirtyPages: 4, bytes: 5000 });
  }
  const { epochsPerSecond, pauseUs, dirtyPages, checkpointBytes, pauseShare } = window.read(20_000);
  t.is(epochsPerSecond, 100 / (WINDOW_MS / 1000));
  t.deepEqual(pauseUs, { p50: 1000, p99: 1500, max: 1500 });
  t.deepEqual([dirtyPages, checkpointBytes], [4, 5000]);
  t.is(Math.round(pauseShare * 10_000), 125);
});

test('the share of script is of the time from holding to releasing', (t) => {
  const window = new EpochWindow(0);
  window.addRelease(10, 2000, 100);
  window.addRelease(20, 4000, 200);
  t.is(window.read(30).scriptShare, 0.05);
  t.is(window.read(30).releaseUs.max, 4000);
});

test('nothing measured is nothing, not an error', (t) => {
  const counters = new EpochWindow(0).read(0);
  t.deepEqual(counters.pauseUs, { p50: 0, p99: 0, max: 0 });
  t.is(counters.epochsPerSecond, 0);
});
