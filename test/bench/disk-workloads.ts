import { KemariError } from '../../src/base/errors.js';
import type { TestStorage } from './storage.js';
import type { Workload } from './workload.js';

const PATTERNS = [
  { name: '4 KiB random read', rw: 'randread', block: '4k' },
  { name: '4 KiB random write', rw: 'randwrite', block: '4k' },
  { name: '128 KiB sequential read', rw: 'read', block: '128k' },
  { name: '128 KiB sequential write', rw: 'write', block: '128k' },
] as const;

const DEPTHS = [32, 1] as const;

/** Beyond the run itself: fio starts and ends in an emulated guest. */
const FIO_EXTRA_MS = 60_000;
const MILLISECONDS_PER_SECOND = 1000;

/** Where the guest finds the test disks; the first disk is its root. */
const RAW_FILE_IN_GUEST = '/dev/vdb';
const BLOCK_DEVICE_IN_GUEST = '/dev/vdc';

export function diskWorkloads(storage: TestStorage): Workload[] {
  const devices = [{ name: 'raw file', path: RAW_FILE_IN_GUEST }];
  if (storage.blockDevice !== undefined) devices.push({ name: 'block device', path: BLOCK_DEVICE_IN_GUEST });
  return devices.flatMap((device) =>
    DEPTHS.flatMap((depth) => PATTERNS.map((pattern) => diskWorkload(device.name, device.path, depth, pattern))),
  );
}

function diskWorkload(device: string, path: string, depth: number, pattern: (typeof PATTERNS)[number]): Workload {
  return {
    name: `disk ${device}, ${pattern.name}, depth ${depth}`,
    unit: 'requests/s',
    work: 'request',
    target: depth === 1 ? { fastest: 0.95 } : { storageDaemon: 1.0, fastest: 0.95 },
    async run(variant, { seconds }) {
      const fio =
        `fio --name=bench --filename=${path} --rw=${pattern.rw} --bs=${pattern.block} --iodepth=${depth} ` +
        `--ioengine=io_uring --direct=1 --time_based --runtime=${seconds} --output-format=json`;
      const output = await variant.shell.mustRun(fio, seconds * MILLISECONDS_PER_SECOND + FIO_EXTRA_MS);
      return readFio(output);
    },
  };
}

interface FioResult {
  readonly jobs: readonly Readonly<
    Record<'read' | 'write', { readonly total_ios: number; readonly runtime: number }>
  >[];
}

/** fio prints warnings before its JSON. `runtime` is in milliseconds. */
function readFio(output: string): { work: number; seconds: number } {
  const start = output.indexOf('{');
  if (start < 0) throw new KemariError('KEMARI_BENCH_GUEST', `fio printed no JSON: ${output}`);
  const job = (JSON.parse(output.slice(start)) as FioResult).jobs[0];
  if (job === undefined) throw new KemariError('KEMARI_BENCH_GUEST', `fio ran no job: ${output}`);
  const did = job.read.total_ios > 0 ? job.read : job.write;
  return { work: did.total_ios, seconds: did.runtime / MILLISECONDS_PER_SECOND };
}
