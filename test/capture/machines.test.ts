import test from 'ava';
import { guestTest, missing } from '../fixtures/guest-test.js';
import { testedQemus } from '../fixtures/qemus.js';
import { testing } from '../native/testing.js';
import { Comparison } from './comparison.js';
import { makeNetwork, Subject, type SubjectOptions } from './subject.js';

test.before(() => {
  makeNetwork();
});

const CAPTURES = 30n;

const VARIANTS: readonly SubjectOptions[] = [
  { machine: 'q35', vcpus: 2, disks: 2, vifs: 2 },
  { machine: 'q35', memoryMib: 3072 }, // memory below and above 4 GiB, which QEMU maps once
  { machine: 'pc' },
  { machine: 'microvm', vcpus: 2 },
  { machine: 'q35', virtio: 'modern' },
];

for (const qemu of testedQemus()) {
  for (const variant of VARIANTS) {
    const name = `${JSON.stringify(variant)} on ${qemu.name}`;
    guestTest(`${CAPTURES} checkpoints are the memory of ${name}${missing}`, async (t) => {
      const subject = await Subject.boot({ ...variant, qemu: qemu.program });
      t.teardown(() => subject.close());
      const image = new testing.CheckpointImage(subject.config.memoryBytes);
      const capture = subject.capture(image);
      t.teardown(() => capture.close());
      await capture.attach();
      await subject.run('(while :; do seq 40000 >/dev/shm/x; done) >/dev/null 2>&1 &');
      await capture.copyRound();
      const comparison = new Comparison(subject, capture, image);
      for (let epoch = 1n; epoch <= CAPTURES; epoch++) {
        t.true((await comparison.cut(t, epoch)).wasRunning);
        t.true((await capture.resume()).resumed);
      }
      const { machineState, devices, ordered } = image.received();
      t.is(machineState.subarray(0, 4).toString(), 'QEVM');
      t.is(devices.length, subject.devices.length);
      t.true(ordered);
      t.regex(await subject.run('echo alive'), /alive/);
    });
  }
}
