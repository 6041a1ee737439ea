import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../../src/base/deadline.js';
import { makeNetwork, Subject } from '../../capture/subject.js';
import { deadInstance, PlayedPrimary, StandbyHost } from './played-primary.js';

const PATIENCE_MS = 30_000;
const TEST_TIMEOUT_MS = 240_000;

test.before(() => {
  makeNetwork();
});

test.serial('a domain is received, its primary dies, and after SIGHUP it runs here', async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const host = await StandbyHost.start(t);
  const subject = await Subject.boot();
  t.teardown(() => subject.close());
  await subject.run('echo precious >/root/before; sync');
  const primary = new PlayedPrimary(subject, host);
  t.teardown(() => primary.die());
  await primary.connect(await primary.offer({ instance: await deadInstance(host) }));
  t.is((await host.info()).state, 'standby');
  await primary.epoch(1n);
  await primary.epoch(2n);
  t.like((await host.info()).standby, { phase: 'ready', epoch: 2, known: 'alive' });
  t.is(await host.stopDaemon('SIGTERM'), 0);
  t.is((await host.info()).state, 'standby', 'the end of kemarid ends no standby');
  await host.startDaemon();

  await primary.die();
  t.true(await waitUntil(async () => (await host.info()).standby?.known === 'dead', { timeoutMs: PATIENCE_MS }));
  process.kill((await host.info()).dmPid, 'SIGHUP');
  // It is told once the guest has been let go.
  const running = await waitUntil(async () => (await host.info()).takeover !== undefined, { timeoutMs: PATIENCE_MS });
  t.true(running, host.log('subject'));
  const { takeover, state } = await host.info();
  t.is(state, 'running');
  t.like(takeover, { reason: 'peer-dead', epoch: 2 });
  t.log(takeover?.ms);
  t.regex(await subject.run('cat /root/before'), /^precious\r?$/m);
  process.kill((await host.info()).dmPid, 'SIGHUP');
  t.is((await host.info()).state, 'running', 'a second SIGHUP means nothing');
});

/** Fills a file system; returns how to have it empty again. */
function fill(folder: string): () => void {
  const path = join(folder, 'fill');
  const fd = openSync(path, 'w');
  try {
    for (;;) writeSync(fd, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(fd);
  }
  return () => {
    rmSync(path);
  };
}

test.serial(
  'a takeover of a paused guest: while it fails it owns nothing, keeps the epoch and says why; then the guest is here, paused',
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const host = await StandbyHost.withLittleRoom(t);
    const subject = await Subject.boot();
    t.teardown(() => subject.close());
    await subject.run('echo before >/run/before');
    const primary = new PlayedPrimary(subject, host);
    t.teardown(() => primary.die());
    await primary.connect(await primary.offer({ instance: await deadInstance(host) }));
    await primary.epoch(1n);
    t.false((await host.info()).standby?.guestPaused);
    await subject.machine.pause();
    await primary.epoch(2n, 'at-once', true);
    await primary.die();
    t.true(await waitUntil(async () => (await host.info()).standby?.known === 'dead', { timeoutMs: PATIENCE_MS }));
    // The machine that waits is lost, too: another one is to wait.
    const { qemuPid } = await host.info();
    process.kill(qemuPid ?? 0, 'SIGKILL');
    const another = async (): Promise<boolean> => ![qemuPid, undefined].includes((await host.info()).qemuPid);
    t.true(await waitUntil(another, { timeoutMs: PATIENCE_MS }), host.log('subject'));

    const [disk] = subject.config.disks;
    const image = disk?.target.kind === 'path' ? disk.target.path : '';
    renameSync(image, `${image}.away`);
    const makeRoom = fill(host.stateDirectory);
    const record = join(host.stateDirectory, 'domains', `${subject.config.uuid}.json`);
    const order = { verb: 'takeover', primaryIsDead: false } as const;
    const full = await t.throwsAsync(host.ask(order), { code: 'KEMARI_TAKEOVER_FAILED' });
    t.regex(full.message, /KEMARI_OWNERSHIP_WRITE/);
    t.false(existsSync(record));
    const { state, standby } = await host.info();
    t.is(state, 'standby');
    t.like(standby, { phase: 'silent', epoch: 2, guestPaused: true });
    t.regex(standby?.failure?.text ?? '', /KEMARI_OWNERSHIP_WRITE/);

    makeRoom();
    const away = await t.throwsAsync(host.ask(order), { code: 'KEMARI_TAKEOVER_FAILED' });
    t.regex(away.message, /KEMARI_DISK/);
    t.false(existsSync(record), 'what was noted is taken back');

    renameSync(`${image}.away`, image);
    // Nobody orders it: the primary is known to be dead.
    t.true(
      await waitUntil(async () => (await host.info()).state === 'paused', { timeoutMs: PATIENCE_MS }),
      host.log('subject'),
    );
    t.true(existsSync(record));
    t.like((await host.info()).takeover, { reason: 'peer-dead', epoch: 2 });
    // As its operator had left it.
    await host.ask({ verb: 'unpause' });
    t.is((await host.info()).state, 'running');
    t.regex(await subject.run('cat /run/before'), /^before\r?$/m);
  },
);
