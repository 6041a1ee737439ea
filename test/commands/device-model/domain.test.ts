import { closeSync } from 'node:fs';
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import { waitUntil } from '../../../src/base/deadline.js';
import { KemariError } from '../../../src/base/errors.js';
import { Domain } from '../../../src/commands/device-model/domain.js';
import type { ProtectionWorld } from '../../../src/commands/device-model/domain-protection.js';
import type { DomainConfig, EndAction } from '../../../src/model/domain-config.js';
import type { DomainState } from '../../../src/model/domain-state.js';
import { FakeHypervisor } from './fake-hypervisor.js';

const TIMEOUT_MS = 20_000;

function configOf(onCrash: EndAction): DomainConfig {
  return {
    ...{ name: 'd', uuid: '4a1e2c5c-0f3e-4e0e-9d0a-5b1f0c1d2e3f', machine: 'q35', accel: 'tcg', cpu: 'default' },
    ...{
      memoryBytes: 1 << 20,
      vcpus: 1,
      boot: { from: 'disk' },
      disks: [],
      vifs: [],
      guestAgent: false,
      virtio: 'legacy',
    },
    ...{ onPoweroff: 'destroy', onReboot: 'restart', onCrash },
  };
}

/** A world without any other host. */
const nobody: ProtectionWorld = {
  findStandby: () => Promise.reject(new KemariError('KEMARI_PEER_CONNECT', 'nobody listens')),
  openCapture: () => {
    throw new Error('nothing is captured without a standby');
  },
  machineRuns: () => true,
};

interface Stand {
  readonly domain: Domain;
  readonly hypervisor: FakeHypervisor;
  readonly told: string[];
}

function stand(onCrash: EndAction = 'destroy', paused = false): Stand {
  const hypervisor = new FakeHypervisor();
  const { told } = hypervisor;
  const domain = new Domain({
    ...{ domid: 1, config: configOf(onCrash), createdAtMs: 0, begins: paused ? 'paused' : 'running', hypervisor },
    onStandbyLost: () => undefined,
    ...{ cacheDirectory: '/nonexistent', privateDirectory: '/nonexistent' },
    logger: pino(
      new Writable({
        write: (_chunk, _encoding, done) => {
          done();
        },
      }),
    ),
    onProcess: () => undefined,
    onXenDomain: () => undefined,
    attachConsole: closeSync,
    protection: nobody,
    release: () => void told.push('release'),
  });
  return { domain, hypervisor, told };
}

async function untilState(domain: Domain, state: DomainState): Promise<void> {
  if (!(await waitUntil(() => domain.info().state === state, { timeoutMs: TIMEOUT_MS }))) {
    throw new Error(`state ${domain.info().state}, expected ${state}`);
  }
}

test('a domain runs once its machine is up, and destroying it ends the machine before its place is given up', async (t) => {
  const { domain, told } = stand();
  t.is(domain.info().state, 'starting');
  await domain.start();
  t.is(domain.info().state, 'running');
  await domain.request('destroy');
  t.deepEqual(told, ['start', 'resume', 'kill', 'release']);
  t.deepEqual(await domain.ended, { failed: false });
});

test('a domain that is created paused is not resumed before it is asked for', async (t) => {
  const { domain, told } = stand('destroy', true);
  await domain.start();
  t.deepEqual(told, ['start']);
  await domain.request('unpause');
  t.deepEqual(told, ['start', 'resume']);
  await domain.request('destroy');
});

test('a start that fails is told to whoever asked for it, and leaves nothing', async (t) => {
  const { domain, hypervisor, told } = stand('restart');
  hypervisor.next = 'fail';
  await t.throwsAsync(domain.start(), { code: 'KEMARI_HYPERVISOR_START' });
  t.deepEqual(told, ['start', 'release']);
  t.deepEqual(await domain.ended, { failed: true });
});

test('a domain that is destroyed while it starts does not keep anyone waiting', async (t) => {
  const { domain, hypervisor, told } = stand();
  hypervisor.next = 'wait';
  const started = domain.start();
  await domain.request('destroy');
  await t.throwsAsync(started, { code: 'KEMARI_INTERRUPTED' });
  t.deepEqual(told, ['start', 'release']);
});

test('a domain that is destroyed before it started does not start', async (t) => {
  const { domain, told } = stand();
  const destroyed = domain.request('destroy');
  await t.throwsAsync(domain.start(), { code: 'KEMARI_INTERRUPTED' });
  await destroyed;
  t.deepEqual(told, ['release']);
});

test('a machine that is lost is replaced with on_crash = "restart", and heard no more', async (t) => {
  const { domain, hypervisor, told } = stand('restart');
  await domain.start();
  const first = hypervisor.machines[0]!;
  first.emit({ type: 'exited', code: null, signal: 'SIGKILL' });
  t.is(domain.info().state, 'starting');
  await untilState(domain, 'running');
  first.emit({ type: 'powered-off' });
  t.is(domain.info().state, 'running');
  await domain.request('destroy');
  t.deepEqual(told, ['start', 'resume', 'kill', 'start', 'resume', 'kill', 'release']);
});

test('a replacement that does not start ends the domain as failed', async (t) => {
  const { domain, hypervisor } = stand('restart');
  await domain.start();
  hypervisor.next = 'fail';
  hypervisor.machines[0]!.emit({ type: 'exited', code: 1, signal: null });
  t.deepEqual(await domain.ended, { failed: true });
});

test('a domain can be destroyed while its replacement starts', async (t) => {
  const { domain, hypervisor } = stand('restart');
  await domain.start();
  hypervisor.next = 'wait';
  hypervisor.machines[0]!.emit({ type: 'exited', code: 1, signal: null });
  await domain.request('destroy');
  t.deepEqual(await domain.ended, { failed: false });
});

test('a machine that does not do as it is told counts as lost', async (t) => {
  const { domain, hypervisor } = stand('destroy');
  await domain.start();
  hypervisor.machines[0]!.pauseError = new KemariError('KEMARI_QMP_TIMEOUT', 'no answer');
  await t.throwsAsync(domain.request('pause'), { code: 'KEMARI_QMP_TIMEOUT' });
  t.deepEqual(await domain.ended, { failed: true });
});

test('a request that is refused changes nothing', async (t) => {
  const { domain, told } = stand();
  await domain.start();
  await domain.request('pause');
  await t.throwsAsync(domain.request('shutdown'), { code: 'KEMARI_WRONG_STATE' });
  t.is(domain.info().state, 'paused');
  await domain.request('destroy');
  t.deepEqual(told, ['start', 'resume', 'pause', 'kill', 'release']);
});
