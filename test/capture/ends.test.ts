import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Capture } from '../../src/native/capture.js';
import { guestTest, missing } from '../fixtures/guest-test.js';
import { testing, type CheckpointImage } from '../native/testing.js';
import { differingPages } from './comparison.js';
import { makeNetwork, Subject } from './subject.js';

test.before(() => {
  makeNetwork();
});

interface Attached {
  readonly subject: Subject;
  readonly capture: Capture;
  readonly image: CheckpointImage;
}

/** A guest that has just begun to boot, which is all that these tests need, with a capture attached. */
async function attach(t: ExecutionContext): Promise<Attached> {
  const subject = await Subject.create({ machine: 'microvm', disks: 0, vifs: 1 });
  t.teardown(() => subject.close());
  const image = new testing.CheckpointImage(subject.config.memoryBytes);
  const capture = subject.capture(image);
  t.teardown(() => capture.close());
  await subject.machine.resume();
  await capture.attach();
  await capture.copyRound();
  return { subject, capture, image };
}

const GONE = { code: 'KEMARI_CAPTURE_GONE' };

guestTest(`a guest that is paused is captured as it stands, and stays paused${missing}`, async (t) => {
  const { subject, capture, image } = await attach(t);
  await subject.machine.pause();
  for (const policy of ['at-once', 'after-ack'] as const) {
    const result = await capture.capture(policy === 'at-once' ? 1n : 2n, policy);
    t.false(result.wasRunning);
    t.false(result.resumed);
    t.deepEqual(differingPages(subject, image), []);
  }
  t.false((await capture.resume()).resumed);
  t.is(subject.events.at(-1)?.type, 'stopped');
  await subject.machine.resume();
  t.true((await capture.capture(3n, 'at-once')).wasRunning);
});

guestTest(`resets and pauses between and during captures leave every checkpoint whole${missing}`, async (t) => {
  const { subject, capture, image } = await attach(t);
  const { machine } = subject;
  let epoch = 0n;
  for (let time = 0; time < 10; time++) {
    const [result] = await Promise.all([capture.capture((epoch += 1n), 'at-once'), machine.reset()]);
    t.true(result.stateBytes > 0);
    await Promise.all([capture.capture((epoch += 1n), 'at-once'), machine.resume()]);
    await Promise.all([machine.pause(), capture.capture((epoch += 1n), 'at-once')]);
    await machine.resume();
    await capture.capture((epoch += 1n), 'after-ack');
    t.deepEqual(differingPages(subject, image), []);
    t.true((await capture.resume()).resumed);
  }
});

guestTest(
  `a QEMU that dies at any moment of a capture ends it, with a whole checkpoint or none${missing}`,
  async (t) => {
    let whole = 0;
    for (let delayUs = 0; delayUs < 2400; delayUs += 200) {
      const { subject, capture, image } = await attach(t);
      await capture.capture(1n, 'at-once');
      const { machineState } = image.received();
      const begun = process.hrtime.bigint();
      const taken = capture.capture(2n, 'at-once').then(
        () => undefined,
        (error: unknown) => error as { code: string },
      );
      while (process.hrtime.bigint() - begun < BigInt(delayUs) * 1000n);
      process.kill(subject.machine.pid!, 'SIGKILL');
      const error = await taken;
      if (error === undefined) {
        whole += 1;
        t.is(image.received().epoch, 2n);
        t.is(image.received().machineState.length, machineState.length);
      } else {
        t.is(error.code, 'KEMARI_CAPTURE_GONE');
        t.is(image.received().epoch, 1n);
      }
      await t.throwsAsync(capture.capture(3n, 'at-once'), GONE);
      await capture.close();
      await subject.close();
    }
    t.log(`${whole} of 12 were whole`);
  },
);

guestTest(`a guest that a capture holds can be killed${missing}`, async (t) => {
  const { subject, capture } = await attach(t);
  await capture.capture(1n, 'never');
  await subject.machine.kill();
  await t.throwsAsync(capture.resume(), GONE);
});

guestTest(`a held guest goes on when the capture is detached${missing}`, async (t) => {
  const { subject, capture } = await attach(t);
  await capture.capture(1n, 'after-ack');
  await t.throwsAsync(capture.capture(2n, 'at-once'), { code: 'KEMARI_CAPTURE_STATE' });
  await t.throwsAsync(capture.copyRound(), { code: 'KEMARI_CAPTURE_STATE' });
  await capture.detach();
  await subject.machine.pause();
  t.deepEqual(subject.events.map(({ type }) => type).slice(-3), ['stopped', 'resumed', 'stopped']);
});

guestTest(
  `a round that waits for the link ends when the capture is detached or the link is lost${missing}`,
  async (t) => {
    const { subject, capture, image } = await attach(t);
    const aborted = { code: 'KEMARI_CAPTURE_ABORTED' };
    await capture.detach();
    await capture.attach();
    image.setFull(true);
    const waiting = t.throwsAsync(capture.copyRound(), aborted);
    await sleep(20);
    await Promise.all([waiting, capture.detach()]);
    image.setFull(false);
    image.setLost(true);
    await capture.attach();
    await t.throwsAsync(capture.copyRound(), aborted);
    image.setLost(false);
    await capture.capture(1n, 'after-ack');
    t.deepEqual(differingPages(subject, image), []);
    await capture.resume();
  },
);

guestTest(`what is asked in the wrong order is refused, and nothing breaks by it${missing}`, async (t) => {
  const { capture } = await attach(t);
  await t.throwsAsync(capture.attach(), { code: 'KEMARI_CAPTURE_STATE' });
  await t.throwsAsync(capture.resume(), { code: 'KEMARI_CAPTURE_STATE' });
  t.throws(() => capture.capture(0n, 'at-once'), { code: 'KEMARI_ARGUMENT' });
  t.throws(() => capture.capture(1n, 'later' as never), { code: 'KEMARI_ARGUMENT' });
  t.true((await capture.capture(1n, 'at-once')).resumed);
  await capture.detach();
  await capture.detach();
  await t.throwsAsync(capture.capture(2n, 'at-once'), { code: 'KEMARI_CAPTURE_STATE' });
  await t.throwsAsync(capture.countDirty(), { code: 'KEMARI_CAPTURE_STATE' });
  await Promise.all([capture.close(), capture.close()]);
  await t.throwsAsync(capture.attach(), { code: 'KEMARI_CAPTURE_CLOSED' });
});
