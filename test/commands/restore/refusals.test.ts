import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../../src/base/deadline.js';
import { KemariError } from '../../../src/base/errors.js';
import { readKey } from '../../../src/host/key-file.js';
import { thisInstance } from '../../../src/host/host-id.js';
import { connectStandby } from '../../../src/wire/connect.js';
import type { Offer } from '../../../src/wire/contract.js';
import { makeNetwork, Subject } from '../../capture/subject.js';
import { PlayedPrimary, StandbyHost } from './played-primary.js';

const PATIENCE_MS = 30_000;
const TEST_TIMEOUT_MS = 240_000;

test.before(() => {
  makeNetwork();
});

/** A machine before its first instruction: enough to be offered. */
async function stage(t: ExecutionContext, ...options: string[]) {
  t.timeout(TEST_TIMEOUT_MS);
  const host = await StandbyHost.start(t, ...options);
  const subject = await Subject.create();
  t.teardown(() => subject.close());
  const primary = new PlayedPrimary(subject, host);
  t.teardown(() => primary.die());
  return { host, primary };
}

async function refusal(host: StandbyHost, offer: Offer): Promise<KemariError> {
  const security = { kind: 'psk', key: readKey(host.keyFile) } as const;
  try {
    const { streamFd, leaseFd } = await connectStandby({ address: host.address, security, offer });
    for (const fd of [streamFd, leaseFd]) new Socket({ fd }).destroy();
  } catch (error) {
    if (error instanceof KemariError) return error;
    throw error;
  }
  throw new Error('the offer was accepted');
}

test.serial('what is not the same on the standby is refused with both values, and nothing is left there', async (t) => {
  const { host, primary } = await stage(t);
  const offer = await primary.offer();
  const { machine, disks, bootFiles } = offer;
  const [disk] = disks;
  const cases: readonly (readonly [Partial<Offer>, RegExp])[] = [
    [{ machine: { ...machine, version: '9.9.9' } }, /version of qemu: 9\.9\.9 on the primary, \d+\.\d+\.\d+ here/],
    [{ machine: { ...machine, cpuModel: 'EPYC' } }, /CPU model: EPYC on the primary, \S+ here/],
    [{ machine: { ...machine, machine: 'pc-q35-1.0' } }, /machine type: pc-q35-1\.0 on the primary, pc-q35-\S+ here/],
    [
      { machine: { ...machine, memoryBytes: 1 << 20 } },
      /guest memory in bytes: 1048576 on the primary, 536870912 here/,
    ],
    [
      { disks: [{ ...disk!, identity: 'another image' }] },
      /disk xvda: identity: another image on the primary, \S+ here/,
    ],
    [{ disks: [{ ...disk!, sizeBytes: 4096 }] }, /disk xvda: size: 4096 bytes on the primary, \d+ bytes here/],
    [
      { bootFiles: { ...bootFiles, kernel: 'ab'.repeat(32) } },
      /kernel \(SHA-256\): abababab\S* on the primary, \S+ here/,
    ],
  ];
  for (const [change, message] of cases) {
    const error = await refusal(host, { ...offer, ...change });
    t.is(error.code, 'KEMARI_HANDSHAKE_MISMATCH');
    t.regex(error.message, message);
    t.is(await host.domain(), undefined);
  }
});

test.serial('what the standby host lacks is refused by name: memory, a bridge, a fence', async (t) => {
  const { host, primary } = await stage(t);
  const offer = await primary.offer();
  const { config } = offer;
  const huge = await refusal(host, { ...offer, config: { ...config, memoryBytes: 2 ** 45 } });
  t.is(huge.code, 'KEMARI_STANDBY_MEMORY');
  t.regex(huge.message, /has \d+ MiB of memory left; domain "subject" needs 33554688 MiB there/);
  const noBridge = { ...config, vifs: config.vifs.map((vif) => ({ ...vif, bridge: 'nobridge' })) };
  t.regex((await refusal(host, { ...offer, config: noBridge })).message, /nobridge/);
  t.is((await refusal(host, { ...offer, failover: 'auto' })).code, 'KEMARI_NO_FENCE');
  t.is(await host.domain(), undefined);
});

test.serial(
  'a host with the standby host’s own id is refused, whether it runs elsewhere or in a container',
  async (t) => {
    const { host, primary } = await stage(t);
    const own = thisInstance(host.registry.host);
    for (const other of [{ bootId: 'another boot' }, { pidNamespace: '1' }]) {
      const error = await refusal(host, await primary.offer({ instance: { ...own, ...other } }));
      t.is(error.code, 'KEMARI_HOST_ID_CLONED');
      t.regex(error.message, new RegExp(`${own.hostId}.*host-id was copied`));
    }
    t.is(await host.domain(), undefined);
  },
);

test.serial('a primary that is accepted and does not come leaves nothing', async (t) => {
  const { host, primary } = await stage(t);
  const offer = await primary.offer();
  const error = await t.throwsAsync(refusal(host, offer), { message: 'the offer was accepted' });
  t.truthy(error);
  const gone = await waitUntil(async () => (await host.domain()) === undefined, { timeoutMs: PATIENCE_MS });
  t.true(gone, host.log('subject'));
});

test.serial('a standby that loses its first epoch, or is told goodbye, ends and takes nothing along', async (t) => {
  const { host, primary } = await stage(t);
  await primary.connect(await primary.offer());
  const twice = await refusal(host, await primary.offer());
  t.is(twice.code, 'KEMARI_NAME_IN_USE', 'one standby of a domain is enough');
  t.like((await host.info()).standby, { phase: 'receiving', epoch: 0 });
  primary.send('goodbye');
  await primary.heard((event) => event.type === 'word' && event.word === 'disarmed');
  t.true(await waitUntil(async () => (await host.domain()) === undefined, { timeoutMs: PATIENCE_MS }));
});

test.serial('a kemarid that is killed leaves its standbys, and its successor its host', async (t) => {
  const { host, primary } = await stage(t);
  await primary.connect(await primary.offer());
  const { dmPid } = await host.info();
  t.regex(readFileSync(`/proc/${dmPid}/cmdline`, 'latin1'), /^xc_kemari_restore subject/);
  await host.stopDaemon('SIGKILL');
  t.is((await host.info()).dmPid, dmPid);
  await host.startDaemon();
  await primary.epoch(1n);
  t.like((await host.info()).standby, { phase: 'ready', epoch: 1 });
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${dmPid}/status`, 'latin1'))?.[1]);
  t.log(`the restore process keeps ${Math.round(kib / 1024)} MiB resident`);
});
