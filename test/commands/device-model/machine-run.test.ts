import { closeSync, mkdtempSync, openSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MachineRun, type Takeover } from '../../../src/commands/device-model/machine-run.js';
import type { DomainConfig } from '../../../src/model/domain-config.js';
import type { DiskGeometry } from '../../../src/native/addon.js';
import { FakeHypervisor } from './fake-hypervisor.js';

interface Stand {
  readonly hypervisor: FakeHypervisor;
  /** The guest's one disk. */
  readonly path: string;
  readonly geometries: readonly DiskGeometry[];
  readonly checkpoint: Takeover;
  readonly run: () => MachineRun;
}

/** What a standby knows of a guest with one disk, whose machine holds its copy, or does not. */
async function stand(t: ExecutionContext, holdCopies: boolean): Promise<Stand> {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-machine-run-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 'disk');
  closeSync(openSync(path, 'w'));
  truncateSync(path, 1 << 20);
  const config: DomainConfig = {
    ...{ name: 'd', uuid: '4a1e2c5c-0f3e-4e0e-9d0a-5b1f0c1d2e3f', machine: 'q35', accel: 'tcg', cpu: 'default' },
    ...{ memoryBytes: 1 << 20, vcpus: 1, boot: { from: 'disk' }, vifs: [], guestAgent: false, virtio: 'legacy' },
    disks: [
      {
        ...{ vdev: 'xvda', target: { kind: 'path', path }, readOnly: false },
        ...{ discard: false, cache: 'writeback', queues: 1 },
      },
    ],
    ...{ onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'destroy' },
  };
  const hypervisor = new FakeHypervisor();
  const run = (): MachineRun =>
    new MachineRun({
      ...{ domid: 1, config, hypervisor, cacheDirectory: '/nonexistent', privateDirectory: '/nonexistent' },
      ...{ attachConsole: closeSync, onProcess: () => undefined, onXenDomain: () => undefined },
      ...{ onOutput: () => undefined, onEvent: () => undefined },
    });
  const primary = run();
  await primary.start();
  const { all, gate } = primary.devices;
  for (const device of all) device.setSuspendOnStop(true);
  gate.cut();
  const devices = all.map((device) => device.cut());
  const geometries = primary.devices.diskGeometries();
  await primary.end();
  hypervisor.told.length = 0;
  hypervisor.holdCopies = holdCopies;
  const checkpoint = { machineState: Buffer.alloc(0), devices, console: Buffer.alloc(0), steal: true };
  return { hypervisor, path, geometries, checkpoint, run };
}

test('storage that fails at a takeover does not cost the guest its only copy: the next run has it, and goes on', async (t) => {
  const { hypervisor, path, geometries, checkpoint, run } = await stand(t, true);
  renameSync(path, `${path}.away`);
  const first = run();
  await first.prepareStandby({ ramFd: undefined, geometries });
  await t.throwsAsync(first.takeOver(checkpoint), { message: /No such file/ });
  t.true(first.holdsCopy);
  const waiting = await first.endButCopy();
  t.is(waiting, hypervisor.machines[1]);
  t.deepEqual(hypervisor.told, ['start'], 'nothing was loaded, and it was not killed');

  const second = run();
  hypervisor.next = 'fail';
  await t.throwsAsync(second.prepareStandby({ ramFd: undefined, geometries, waiting }));
  t.is(await second.endButCopy(), waiting, 'not even by devices that cannot be served');

  renameSync(`${path}.away`, path);
  const third = run();
  hypervisor.next = 'succeed';
  await third.prepareStandby({ ramFd: undefined, geometries, waiting });
  await third.takeOver(checkpoint);
  t.deepEqual(hypervisor.told, ['start', 'wait on', 'wait on', 'load']);
  await third.end();
  t.is(hypervisor.told.at(-1), 'kill');
});

test('a machine that holds no copy ends with its run', async (t) => {
  const { hypervisor, geometries, run } = await stand(t, false);
  const only = run();
  await only.prepareStandby({ ramFd: undefined, geometries });
  t.false(only.holdsCopy);
  t.is(await only.endButCopy(), undefined);
  t.deepEqual(hypervisor.told, ['start', 'kill']);
});

test('a copy that nobody takes over ends with its run', async (t) => {
  const { hypervisor, geometries, run } = await stand(t, true);
  const first = run();
  await first.prepareStandby({ ramFd: undefined, geometries });
  const waiting = await first.endButCopy();
  const second = run();
  hypervisor.next = 'fail';
  await t.throwsAsync(second.prepareStandby({ ramFd: undefined, geometries, waiting }));
  await second.end();
  t.deepEqual(hypervisor.told, ['start', 'wait on', 'kill']);
});
