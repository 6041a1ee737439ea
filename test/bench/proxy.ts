import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { messageOf } from '../../src/base/errors.js';
import { findQemu } from '../../src/hypervisor/qemu/binary.js';
import type { Bench } from './bench.js';
import { findImages } from './images.js';
import { measureAll } from './measure-all.js';
import { PINGPONG_PORT } from './network-workloads.js';
import { parseOptions, type BenchOptions } from './options.js';
import { countSteps, makePlan } from './plan.js';
import { Client, enterPrivateNetwork } from './client.js';
import { Progress } from '../../src/bench/progress.js';
import { formatTable, verdict } from './rows.js';
import { makeTestStorage } from './storage.js';
import { Undo } from '../../src/bench/undo.js';

/** Exit code after Ctrl-C, as a shell reports a program that a signal ended. */
const EXIT_INTERRUPTED = 130;

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const outerExitCode = await enterPrivateNetwork();
  if (outerExitCode !== undefined) return outerExitCode;
  const undo = new Undo();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void undo.run().then(() => process.exit(EXIT_INTERRUPTED)));
  }
  try {
    await run(options, undo);
    return 0;
  } finally {
    await undo.run();
  }
}

async function run(options: BenchOptions, undo: Undo): Promise<void> {
  const images = await findImages();
  await mkdir(options.directory, { recursive: true });
  const directory = await mkdtemp(join(resolve(options.directory), 'run-'));
  undo.defer(directory, () => rm(directory, { recursive: true, force: true }));
  // Paths of sockets must be short (unix(7)).
  const stateDirectory = await mkdtemp(join(tmpdir(), 'kemari-bench-'));
  undo.defer(stateDirectory, () => rm(stateDirectory, { recursive: true, force: true }));
  const storage = await makeTestStorage(directory, undo);
  const plan = makePlan(options, storage, images.pingpong);
  const client = Client.adopt();
  client.start(images.pingpong, ['serve', String(PINGPONG_PORT)], undo);
  const bench: Bench = {
    options,
    images,
    qemu: await findQemu(process.env),
    client,
    storage,
    directory,
    stateDirectory,
    progress: new Progress(countSteps(plan, options)),
    undo,
    domainFile: (own) => ({
      machine: options.machine,
      vcpus: options.vcpus,
      diskQueues: options.diskQueues,
      kernel: images.kernel,
      ramdisk: images.ramdisk,
      ...own,
    }),
  };
  if (storage.blockDevice === undefined) bench.progress.say(`no block device: skipped (${storage.whyNoBlockDevice})`);
  const { rows, host } = await measureAll(bench, plan);
  process.stdout.write(`${formatTable(rows)}\n`);
  if (host !== undefined) process.stdout.write(`${JSON.stringify(host)}\n`);
  if (options.jsonFile !== undefined) {
    const judged = rows.map((row) => ({ ...row, verdict: verdict(row) }));
    await writeFile(options.jsonFile, `${JSON.stringify({ host, rows: judged }, null, 2)}\n`);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
