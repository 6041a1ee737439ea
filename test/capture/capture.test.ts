import test from 'ava';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import type { Capture } from '../../src/native/capture.js';
import { testing, type CheckpointImage } from '../native/testing.js';
import { makeNetwork, Subject } from './subject.js';

const guestTest = GUEST_MISSING === undefined ? test.serial : test.serial.skip;

test.before(() => {
  makeNetwork();
});

/** Keeps every part of the guest busy: memory that is written in a known order, the disk both ways, frames. */
const BUSY = `
mkdir -p /run/fill && mount -t tmpfs -o size=96m tmpfs /run/fill
(while :; do i=0; while [ $i -lt 16 ]; do seq $i 60000 > /run/fill/$i; i=$((i + 1)); done; done) >/dev/null 2>&1 &
(while :; do echo 3 > /proc/sys/vm/drop_caches; cat /usr/bin/* > /dev/null; done) >/dev/null 2>&1 &
(while :; do dd if=/dev/zero of=/root/file bs=64k count=16 conv=fsync; done) >/dev/null 2>&1 &
`;

const CAPTURES = 200;

/** Takes a checkpoint and holds the guest; returns the pages that the image then has otherwise than memory. */
async function cut(subject: Subject, capture: Capture, image: CheckpointImage, epoch: bigint): Promise<number[]> {
  await capture.capture(epoch, 'after-ack');
  return image.differingPages(subject.ramFd, Number.MAX_SAFE_INTEGER);
}

/** What the last checkpoint did not bring of these pages. */
function missing(image: CheckpointImage, pages: readonly number[]): number[] {
  const { ranges } = image.received();
  return pages.filter((page) => !ranges.some(({ first, count }) => page >= first && page < first + count));
}

guestTest('the image of 200 checkpoints of a busy guest is its memory, byte for byte, at every cut', async (t) => {
  const subject = await Subject.boot();
  t.teardown(() => subject.close());
  await subject.run(BUSY);
  const image = new testing.CheckpointImage(subject.config.memoryBytes);
  const capture = subject.capture(image);
  t.teardown(() => capture.close());
  await capture.attach();
  await capture.copyRound();
  await capture.copyRound();
  // A read that was in flight at the cut lands in memory after it. The checkpoint says that it is pending, and the next
  // one brings its pages.
  let late: number[] = [];
  for (let epoch = 1n; epoch <= CAPTURES; epoch++) {
    const different = await cut(subject, capture, image, epoch);
    t.deepEqual(missing(image, late), [], `epoch ${epoch}`);
    if (different.length > 0) t.true(subject.devices.some((device) => device.pending().length > 0));
    late = different;
    t.true((await capture.resume()).resumed);
  }
  t.true(image.received().pages > CAPTURES);
  t.true(image.received().ordered);
  await subject.run('pkill -f while; pkill -f fill; sync');
  let left: number[] = [];
  for (let epoch = BigInt(CAPTURES) + 1n; epoch <= CAPTURES + 20; epoch++) {
    left = await cut(subject, capture, image, epoch);
    await capture.resume();
    if (left.length === 0) break;
  }
  t.deepEqual(left, []);
});
