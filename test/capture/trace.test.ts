import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { guestTest, missing } from '../fixtures/guest-test.js';
import { testing } from '../native/testing.js';
import { differingPages } from './comparison.js';
import { makeNetwork, Subject } from './subject.js';

const SETTLE_TIMEOUT_MS = 5_000;

test.before(() => {
  makeNetwork();
});

/** What a process has open, sorted; the number of each kind counts. */
function openFiles(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/${fd}`)];
      } catch {
        return []; // the one that read this folder
      }
    })
    .sort();
}

/** What is open now and was not before; the number of each kind counts. */
function added(before: readonly string[], now: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((file) => {
    const at = rest.indexOf(file);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

/** Mappings of guest memory in a process that are registered for write protection (proc(5): VmFlags, `uw`). */
function trackedMappings(pid: number): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.filter((mapping) => mapping.includes('memfd:kemari-subject') && / uw( |$)/m.test(mapping)).length;
}

function pageTablesKb(pid: number): number {
  return Number(/^VmPTE:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

guestTest(`a capture that was detached has left nothing in QEMU, and nothing here${missing}`, async (t) => {
  const subject = await Subject.boot({ machine: 'microvm' });
  t.teardown(() => subject.close());
  const pid = subject.machine.pid!;
  const image = new testing.CheckpointImage(subject.config.memoryBytes);
  const capture = subject.capture(image);
  t.teardown(() => capture.close());
  // Only then has QEMU accepted the monitor's connection, which stays.
  await capture.attach();
  await capture.detach();
  const before = openFiles(pid);
  const ours = openFiles(process.pid);
  for (let time = 1; time <= 3; time++) {
    await capture.attach();
    t.is(trackedMappings(pid), 1);
    t.false(openFiles(pid).some((file) => file.includes('userfaultfd')));
    await capture.copyRound();
    await capture.capture(BigInt(time), 'at-once');
    await capture.detach();
    t.is(trackedMappings(pid), 0);
    // QEMU and this process open other things now and then, and close what they had open before.
    const left = (): string[] => [...added(before, openFiles(pid)), ...added(ours, openFiles(process.pid))];
    await waitUntil(() => left().length === 0, { timeoutMs: SETTLE_TIMEOUT_MS, everyMs: 10 });
    t.deepEqual(left(), []);
  }
  t.regex(await subject.run('echo alive'), /alive/);
});

guestTest(`what is written between two attachments is in the first checkpoint of the second${missing}`, async (t) => {
  const subject = await Subject.boot({ machine: 'microvm' });
  t.teardown(() => subject.close());
  const image = new testing.CheckpointImage(subject.config.memoryBytes);
  const capture = subject.capture(image);
  t.teardown(() => capture.close());
  await capture.attach();
  await capture.capture(1n, 'at-once');
  await capture.detach();
  await subject.run('dd if=/dev/urandom of=/dev/shm/x bs=1M count=16; cat /usr/bin/a* >/dev/null || :');
  await capture.attach();
  await capture.capture(2n, 'after-ack');
  t.deepEqual(differingPages(subject, image), []);
  await capture.resume();
});

guestTest(`memory that a guest has not touched costs no page tables and no pages${missing}`, async (t) => {
  const subject = await Subject.boot({ machine: 'microvm', memoryMib: 8192 });
  t.teardown(() => subject.close());
  const pid = subject.machine.pid!;
  const image = new testing.CheckpointImage(subject.config.memoryBytes);
  const capture = subject.capture(image);
  t.teardown(() => capture.close());
  const before = pageTablesKb(pid);
  await capture.attach();
  const { pages } = await capture.copyRound();
  t.true(pages < 2 ** 31 / 4096, `${pages} pages`);
  for (let epoch = 1n; epoch <= 5n; epoch++) await capture.capture(epoch, 'at-once');
  // All of it would take 16 MiB.
  const grown = pageTablesKb(pid) - before;
  t.true(grown < 2048, `${grown} KiB more`);
  await capture.capture(6n, 'after-ack');
  t.deepEqual(differingPages(subject, image), []);
  await capture.resume();
});
