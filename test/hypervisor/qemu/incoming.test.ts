import { chmodSync, closeSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Machine } from '../../../src/hypervisor/contract.js';
import { Qemu } from '../../../src/hypervisor/qemu/qemu.js';
import { QmpClient } from '../../../src/hypervisor/qemu/qmp-client.js';
import { parseDomainFile } from '../../../src/model/domain-file.js';

const TIMEOUT_MS = 20_000;

interface Bench {
  /** A machine without devices. */
  readonly start: (machine: 'q35' | 'pc', incoming: boolean, vcpus?: number) => Promise<Machine>;
  /** What a capture writes of it. */
  readonly save: (machine: Machine) => Promise<Buffer>;
}

/** A test body with machines of its own, which are gone afterwards. */
function onBench(body: (t: ExecutionContext, bench: Bench) => Promise<void>) {
  return async (t: ExecutionContext): Promise<void> => {
    const folder = mkdtempSync('/tmp/kemari-incoming-');
    chmodSync(folder, 0o777); // QEMU, which is another user, writes its state here
    const machines: Machine[] = [];
    const memories: number[] = [];
    const start: Bench['start'] = async (type, incoming, vcpus = 1) => {
      const text = `name = "i"\nmemory = 64\nvcpus = ${vcpus}\nmachine = "${type}"\naccel = "tcg"\ndisk = ["/nowhere,raw,xvda,rw"]\n`;
      const hypervisor = new Qemu(process.env);
      const config = { ...parseDomainFile(text, { name: 'i', folder: '/' }), disks: [] };
      const ramFd = hypervisor.createRam(config);
      memories.push(ramFd);
      const machine = await hypervisor.start({
        ...{ domid: machines.length + 1, config, ramFd },
        backEnds: {
          disk: () => undefined,
          vif: () => undefined,
          xenDisk: () => Promise.resolve(),
          xenVif: () => Promise.resolve(),
          agent: () => undefined,
          console: (fd) => new Socket({ fd }).on('error', () => undefined).unref(),
        },
        cacheDirectory: folder,
        privateDirectory: mkdtempSync(join(folder, 'domain-')),
        incoming,
        signal: new AbortController().signal,
        onEvent: () => undefined,
        onProcess: () => undefined,
        onXenDomain: () => undefined,
        onOutput: () => undefined,
      });
      machines.push(machine);
      return machine;
    };
    const save: Bench['save'] = async (machine) => {
      const source = machine.captureSource();
      if (!('monitorFd' in source)) throw new Error("the machine is none of QEMU's");
      const fd = source.monitorFd;
      const ignore = (): void => undefined;
      const qmp = new QmpClient(new Socket({ fd, readable: true, writable: true }), {
        onEvent: ignore,
        onBroken: ignore,
      });
      await qmp.negotiate(TIMEOUT_MS);
      const file = join(folder, 'state');
      await qmp.execute('xen-save-devices-state', { filename: file, live: false });
      qmp.close();
      return readFileSync(file);
    };
    try {
      await body(t, { start, save });
    } finally {
      await Promise.all(machines.map((machine) => machine.kill()));
      for (const fd of memories) closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

test.serial(
  'a machine that waits describes itself as the one that it will be, loads its state, and runs',
  onBench(async (t, { start, save }) => {
    const [running, waiting] = await Promise.all([start('q35', false), start('q35', true)]);
    const description = await running.describe();
    t.deepEqual(await waiting.describe(), description);
    t.regex(description.machine, /^pc-q35-\d+\.\d+$/);
    t.true(description.cpuFeatures.includes('sse2'));
    t.deepEqual(
      description.blocks.map(({ name, sizeBytes }) => [name, sizeBytes]),
      [['pc.bios', 262144]],
    );
    await running.resume();
    await running.pause();
    await waiting.load(await save(running));
    await waiting.resume();
    await waiting.pause();
    // It is saved in its turn, by a monitor that was taken before; the first one is free again, too.
    t.true((await save(waiting)).length > 1000);
    t.true((await save(waiting)).length > 1000);
    t.true((await save(running)).length > 1000);
  }),
);

test.serial(
  'machines of different kinds describe themselves differently',
  onBench(async (t, { start }) => {
    const [q35, pc] = await Promise.all([start('q35', true), start('pc', true)]);
    t.not((await q35.describe()).machine, (await pc.describe()).machine);
  }),
);

for (const [what, spoil] of [
  ['nonsense', () => Buffer.alloc(5000, 7)],
  ['half a state', (state: Buffer) => state.subarray(0, state.length >> 1)],
  ['nothing', () => Buffer.alloc(0)],
] as const) {
  test.serial(
    `${what} is refused in QEMU's own words, and nothing runs`,
    onBench(async (t, { start, save }) => {
      const running = await start('q35', false);
      const waiting = await start('q35', true);
      await t.throwsAsync(waiting.load(spoil(await save(running))), {
        code: 'KEMARI_MACHINE_STATE',
        message: /it printed: .*(?:stream|migration|load|section)/i,
      });
      await t.throwsAsync(waiting.resume(), { code: 'KEMARI_QMP_CLOSED' });
    }),
  );
}

test.serial(
  "another machine's state is refused",
  onBench(async (t, { start, save }) => {
    const running = await start('pc', false, 2);
    const waiting = await start('q35', true);
    await t.throwsAsync(waiting.load(await save(running)), { code: 'KEMARI_MACHINE_STATE', message: /same QEMU/ });
  }),
);
