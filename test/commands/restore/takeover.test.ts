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
  const running = await waitUntil(async () => (await host.info()).state === 'running', { timeoutMs: PATIENCE_MS });
  t.true(running, host.log('subject'));
  const { takeover } = await host.info();
  t.like(takeover, { reason: 'peer-dead', epoch: 2 });
  t.log(takeover?.ms);
  t.regex(await subject.run('cat /root/before'), /^precious\r?$/m);
  process.kill((await host.info()).dmPid, 'SIGHUP');
  t.is((await host.info()).state, 'running', 'a second SIGHUP means nothing');
});

test.serial('a guest that its operator had paused comes up paused, and goes on when it is unpaused', async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const host = await StandbyHost.start(t);
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
  t.like((await host.info()).standby, { epoch: 2, guestPaused: true });

  await primary.die();
  t.true(await waitUntil(async () => (await host.info()).standby?.known === 'dead', { timeoutMs: PATIENCE_MS }));
  await host.ask({ verb: 'takeover', primaryIsDead: false });
  t.is((await host.info()).state, 'paused');
  await host.ask({ verb: 'unpause' });
  t.is((await host.info()).state, 'running');
  t.regex(await subject.run('cat /run/before'), /^before\r?$/m);
});
