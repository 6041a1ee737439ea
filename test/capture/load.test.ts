import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import type { Capture } from '../../src/native/capture.js';
import { guestTest } from '../fixtures/guest-test.js';
import { testing } from '../native/testing.js';
import { makeNetwork, Subject } from './subject.js';

const CAPTURES = 21;
/** Between two captures; it bounds nothing. */
const RUN_MS = 30;

test.before(() => {
  makeNetwork();
});

/** The median over CAPTURES. */
async function busyShare(capture: Capture, firstEpoch: bigint): Promise<number> {
  const shares: number[] = [];
  for (let epoch = firstEpoch; shares.length < CAPTURES; epoch++) {
    await delay(RUN_MS);
    shares.push((await capture.capture(epoch, 'at-once')).busyShare);
  }
  return shares.sort((a, b) => a - b)[(CAPTURES - 1) / 2] ?? NaN;
}

guestTest('a guest that computes is told from one that waits', async (t) => {
  const subject = await Subject.boot();
  t.teardown(() => subject.close());
  const capture = subject.capture(new testing.CheckpointImage(subject.config.memoryBytes));
  t.teardown(() => capture.close());
  await capture.attach();
  await capture.copyRound();
  const idle = await busyShare(capture, 1n);
  await subject.run('(while :; do :; done) >/dev/null 2>&1 &');
  const busy = await busyShare(capture, 101n);
  t.log(`waits: ${idle.toFixed(3)}, computes: ${busy.toFixed(3)}`);
  t.true(idle < 0.5, `${idle}`);
  t.true(busy > 0.8, `${busy}`);
});
