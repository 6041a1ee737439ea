import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { LEDGER_FILE, LEDGER_PORT, parseAnswer } from '../../src/stage/ledger-line.js';
import { guestTest, missing } from '../fixtures/guest-test.js';
import { testedQemus } from '../fixtures/qemus.js';
import { BOOT_TIMEOUT_MS, READY, TwoMachines, type Side, type Variant } from './two-machines.js';

const LOAD_TIMEOUT_MS = 200_000;
const EPOCHS = 20;
const ANSWER_TIMEOUT_MS = 60_000;
/** A guest that reboots cannot answer; a request that waits keeps this process. */
const NO_ANSWER_MS = 5_000;
/** Answers that a client waits for before and after a takeover. */
const ANSWERS = 30;

/** Blocks that carry their place, number and checksum, in random order, synced now and then, and read back. */
function load(dataDisks: number, megabytes: number): string {
  const jobs = ['b', 'c', 'd'].slice(0, dataDisks).map((letter) => `--name=${letter} --filename=/dev/vd${letter}`);
  const common = `--size=${megabytes}M --rw=randwrite --bsrange=4k-64k --direct=1 --ioengine=libaio --iodepth=16 --fsync=32`;
  return `fio ${jobs.map((job) => `${job} ${common} --verify=crc32c --verify_fatal=1 --do_verify=1`).join(' ')} --output-format=terse`;
}

/** A client with one connection: a message after the answer to the one before, each tenth written to the guest's disk. */
class Client {
  answers = 0;
  failure: string | undefined;
  readonly written: string[] = [];
  readonly #end: () => void;

  constructor(machines: TwoMachines) {
    const socket = machines.connect(LEDGER_PORT);
    this.#end = () => socket.destroy();
    let number = 0;
    const send = (): void => {
      number += 1;
      socket.write(number % 10 === 0 ? `W ${number} record-${number}\n` : `E ${number}\n`);
    };
    socket.on('connect', send);
    socket.on('error', (error) => {
      this.failure ??= error.message;
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined); // the socket's, which was noted
    lines.on('line', (line) => {
      const answer = parseAnswer(line);
      if (answer?.number !== number || answer.count !== number) this.failure ??= `"${line}" answers message ${number}`;
      if (answer?.kind === 'W') this.written.push(`W ${number} record-${number}`);
      this.answers += 1;
      send();
    });
  }

  async hear(more: number): Promise<void> {
    const enough = this.answers + more;
    const isOver = (): boolean => this.answers >= enough || this.failure !== undefined;
    if (await waitUntil(isOver, { timeoutMs: ANSWER_TIMEOUT_MS, everyMs: 1 })) return;
    throw new Error(`${enough - this.answers} of ${more} answers did not come`);
  }

  close(): void {
    this.#end();
  }
}

async function takeOver(t: ExecutionContext, machines: TwoMachines, from: Side): Promise<Side> {
  const standby = await machines.prepareStandby(from);
  t.deepEqual(await standby.machine.describe(), await from.machine.describe());
  machines.protect(from);
  for (let epoch = 0; epoch < EPOCHS; epoch += 1) await machines.epoch(from);
  // What the guest does now is held: some of it is pending when it dies.
  const { gate } = from.run.devices;
  const before = gate.lastSequence;
  await waitUntil(() => gate.lastSequence > before + 3n, { timeoutMs: ANSWER_TIMEOUT_MS, everyMs: 1 });
  const checkpoint = await machines.capture(from, standby);
  const pending = from.run.devices.all.flatMap((device) => device.pending());
  // Frames among it are not pending any more: the guest was answered when they were held.
  const { held, released } = gate.counters();
  await from.run.end();
  const start = performance.now();
  await standby.run.takeOver(checkpoint);
  await standby.machine.resume();
  const tookMs = performance.now() - start;
  const stateBytes = checkpoint.machineState.length;
  t.log(
    `${pending.length} requests pending, state of ${stateBytes} bytes, guest running after ${tookMs.toFixed(1)} ms`,
  );
  t.true(held > released);
  return standby;
}

/** A guest that goes on elsewhere starts over there as well: firmware and kernel are there, too. */
async function reboot(t: ExecutionContext, machines: TwoMachines, side: Side): Promise<void> {
  const shown = side.console().length;
  machines.guest('reboot -f', NO_ANSWER_MS).catch(() => undefined);
  const isUp = (): boolean => side.console().slice(shown).includes(READY);
  if (!(await waitUntil(isUp, { timeoutMs: BOOT_TIMEOUT_MS, everyMs: 50 }))) {
    throw new Error(`the guest did not come up again; it printed:\n${side.console().slice(shown)}`);
  }
  // Not by way of its firmware alone, which would find what the processor was left with.
  t.true(side.events.some((each) => each.type === 'machine' && each.event.type === 'rebooted'));
}

async function survives(t: ExecutionContext, variant: Variant): Promise<void> {
  const machines = new TwoMachines(variant);
  let client: Client | undefined;
  try {
    const primary = await machines.boot();
    client = new Client(machines);
    await client.hear(ANSWERS);
    const loaded = machines.guest(load(variant.dataDisks, 8), LOAD_TIMEOUT_MS);
    loaded.catch(() => undefined);
    await waitUntil(() => primary.run.devices.diskInfo().every(({ writes }, index) => index === 0 || writes > 20), {
      timeoutMs: LOAD_TIMEOUT_MS,
    });
    const second = await takeOver(t, machines, primary);
    await client.hear(ANSWERS);
    // The survivor is a machine like any other: it is taken over in its turn.
    const third = await takeOver(t, machines, second);
    await client.hear(ANSWERS);
    const { status, output } = await loaded;
    t.is(status, 0, output);
    await client.hear(ANSWERS);
    client.close();
    t.is(client.failure, undefined);
    const ledger = await machines.guest(
      `cat ${LEDGER_FILE}; dmesg | grep -iE 'error|timeout|hung|stall' >&2 || :`,
      60_000,
    );
    const records = ledger.output.split('\n').map((line) => line.trimEnd());
    t.deepEqual(client.written.filter((line) => !records.includes(line)), []); // prettier-ignore
    t.is(new Set(records).size, records.length, ledger.output);
    const { disks, vifs } = { disks: third.run.devices.diskInfo(), vifs: third.run.devices.vifInfo() };
    t.true(disks.every(({ errors }) => errors === 0));
    t.true(vifs.every(({ txFrames }, index) => index > 0 || txFrames > 0));
    await reboot(t, machines, third);
    for (const { events } of [second, third]) t.deepEqual(events.filter(({ type }) => type !== 'machine'), []); // prettier-ignore
  } finally {
    client?.close();
    await machines.close();
  }
}

const SHAPES: Omit<Variant, 'qemu'>[] = [
  { machine: 'q35', vcpus: 1, dataDisks: 1, vifs: 1, queues: 1, virtio: 'legacy' },
  { machine: 'pc', vcpus: 2, dataDisks: 1, vifs: 2, queues: 2, virtio: 'legacy' },
  { machine: 'microvm', vcpus: 1, dataDisks: 1, vifs: 1, queues: 1, virtio: 'legacy' },
  { machine: 'q35', vcpus: 2, dataDisks: 1, vifs: 2, queues: 2, virtio: 'modern' },
];

test.before(() => TwoMachines.prepareNetwork());

/** Everyday tests take the first shape. */
const isLong = process.env['KEMARI_LONG'] !== undefined;

for (const { name, program } of testedQemus()) {
  for (const shape of isLong ? SHAPES : SHAPES.slice(0, 1)) {
    const { machine, vcpus, vifs, queues, virtio } = shape;
    const variant = { ...shape, qemu: program };
    const title = `${machine} with ${virtio} virtio, ${vcpus} vCPUs, 2 disks, ${vifs} NICs, ${queues} queues each, on ${name}`;
    guestTest(
      `${title}: twice taken over under load, the guest goes on and can reboot, and nothing is lost or doubled${missing}`,
      (t) => survives(t, variant),
    );
  }
}
