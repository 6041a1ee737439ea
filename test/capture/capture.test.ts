import test from 'ava';
import { guestTest } from '../fixtures/guest-test.js';
import { testing } from '../native/testing.js';
import { Comparison } from './comparison.js';
import { makeNetwork, Subject } from './subject.js';

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
  const comparison = new Comparison(subject, capture, image);
  for (let epoch = 1n; epoch <= CAPTURES; epoch++) {
    await comparison.cut(t, epoch);
    t.true((await capture.resume()).resumed);
  }
  t.true(image.received().pages > CAPTURES);
  t.true(image.received().ordered);
  await subject.run('pkill -f while; pkill -f fill; sync');
  let left = Infinity;
  for (let epoch = BigInt(CAPTURES) + 1n; epoch <= CAPTURES + 20; epoch++) {
    left = (await comparison.cut(t, epoch)).latePages;
    await capture.resume();
    if (left === 0) break;
  }
  t.is(left, 0);
});
