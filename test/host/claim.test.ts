import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { Ownership } from '../../src/commands/ownership.js';
import { claimOf, settledClaimOf } from '../../src/host/claim.js';
import { instanceOf, thisInstance } from '../../src/host/host-id.js';
import { isEnding, isRunning } from '../../src/host/process-identity.js';
import { configOf, temporaryHost } from './testing.js';

const GENERATION = 3;

/** A host on which a process of the domain's has ended. */
function hostAfter(t: ExecutionContext) {
  const { host } = temporaryHost(t);
  const config = configOf('web');
  const instance = { ...thisInstance(host), startTicks: '1' };
  const answer = (generation = GENERATION) => claimOf(host, { domainUuid: config.uuid, instance, generation }).answer;
  return { host, config, ownership: new Ownership(host), answer };
}

test('a process that runs has its claim, and one that only ended has none', (t) => {
  const { host, config, answer } = hostAfter(t);
  const question = { domainUuid: config.uuid, instance: thisInstance(host), generation: 0 };
  t.is(claimOf(host, question).answer, 'runs');
  t.is(answer(), 'gone');
});

test('a primary that died while it was protected is gone for its standby', (t) => {
  const { config, ownership, answer } = hostAfter(t);
  ownership.goOnAlone(config, GENERATION);
  ownership.protect(config, { hostName: 'b', addresses: [] });
  t.is(answer(), 'gone');
});

test('a standby that took over and ended since is not "gone": the primary must not go on from before', (t) => {
  const { config, ownership, answer } = hostAfter(t);
  ownership.goOnAlone(config, GENERATION + 1);
  t.is(answer(), 'unknown');
  ownership.tookOver(config, GENERATION + 1);
  t.is(answer(), 'unknown');
  ownership.release(config);
  t.is(answer(), 'unknown', 'nor when its guest has ended in order');
});

test('a primary that went on alone and ended since is not "gone": its standby has an old epoch', (t) => {
  const { config, ownership, answer } = hostAfter(t);
  ownership.protect(config, { hostName: 'b', addresses: [] });
  ownership.goOnAlone(config, GENERATION + 1);
  ownership.endProtection(config);
  t.is(answer(), 'unknown');
  ownership.protect(config, { hostName: 'c', addresses: [] });
  t.is(answer(), 'unknown', 'nor once another host protects it');
  t.is(answer(GENERATION + 1), 'gone');
});

test('a takeover that failed before the guest ran leaves the claim as it was', async (t) => {
  const { config, ownership, answer } = hostAfter(t);
  const takeBack = await ownership.goOnAloneBeside(config, GENERATION + 1);
  t.is(answer(), 'unknown');
  takeBack();
  t.is(answer(), 'gone');
});

test('a disk that takes its time with the record of a takeover keeps nothing else waiting', async (t) => {
  const { config, ownership, answer } = hostAfter(t);
  const noted = ownership.goOnAloneBeside(config, GENERATION + 1);
  t.is(answer(), 'gone', 'it is not written when the call returns');
  await noted;
  t.is(answer(), 'unknown', 'it is once it was waited for');
});

test('what cannot be read, or is no domain, is no proof', (t) => {
  const { host } = hostAfter(t);
  const instance = { ...thisInstance(host), startTicks: '1' };
  t.is(claimOf(host, { domainUuid: '../../etc/passwd', instance, generation: 9 }).answer, 'unknown');
});

/** Its end takes a while: that much memory is given back. */
const LARGE = "Buffer.alloc(256 << 20, 1); process.stdout.write('ready'); setInterval(() => undefined, 1 << 30)";
const KILLS = 20;

test('a killed process that has not quite ended is waited for: its claim has, too', async (t) => {
  const { host } = temporaryHost(t);
  const config = configOf('web');
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const child = spawn(process.execPath, ['-e', LARGE], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    const instance = instanceOf(host, child.pid ?? 0);
    if (instance === undefined) throw new Error('a process that has said something runs');
    child.kill('SIGKILL');
    while (isRunning(instance) && !isEnding(instance)) continue;
    const question = { domainUuid: config.uuid, instance, generation: 0 };
    const before = claimOf(host, question).answer;
    t.is((await settledClaimOf(host, question)).answer, 'gone');
    if (before === 'runs') return;
  }
  t.fail(`none of ${KILLS} processes was met while it ended`);
});
