import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.js';
import { Guest } from '../fixtures/guest.js';
import { Report } from './report.js';

/** The data disk: what the guest writes to it is read back from its file on the host. */
const DATA_DISK_BYTES = 64 << 20;
const WRITTEN_BYTES = 8 << 20;
const REQUESTS = 20;
const EXIT_INTERRUPTED = 130;

const report = new Report();

async function main(): Promise<boolean> {
  report.step('booting a guest whose every disk and network request passes through kemari');
  const guest = await report.during(
    'the guest boots',
    Guest.boot({
      onGuest: stopOnSignal,
      disks: ['format=raw, vdev=xvdb, access=rw, target=ROOT/data.img'],
      prepare: async (folder) => {
        await writeFile(join(folder, 'data.img'), '');
        await truncate(join(folder, 'data.img'), DATA_DISK_BYTES);
      },
    }),
  );
  try {
    await showDomain(guest);
    await showNetwork(guest);
    await showDisk(guest);
    await showCounters(guest);
    await showEnd(guest);
  } finally {
    await guest.close();
  }
  report.claim(
    'nothing is left',
    !existsSync(guest.folder),
    `${guest.folder} is gone, with bridge, taps and processes`,
  );
  return report.verified;
}

/** Ctrl-C and SIGTERM take everything down first, at whatever point they come. */
function stopOnSignal(guest: Guest): void {
  const stop = (): void => {
    report.step('interrupted: taking everything down');
    void guest.close().finally(() => process.exit(EXIT_INTERRUPTED));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

async function showDomain(guest: Guest): Promise<void> {
  report.step('the guest is up; on its host, `kemari list` says');
  report.quote(await guest.kemari('list'));
  const info = await guest.info();
  const { machine } = info.config;
  report.claim(
    'a stock QEMU runs it',
    info.qemuPid !== undefined,
    `QEMU ${info.qemuVersion}, ${info.accel}, ${machine}`,
  );
}

async function showNetwork(guest: Guest): Promise<void> {
  report.step(`a client on the guest's network asks ${guest.address} for a page, ${REQUESTS} times`);
  const times: number[] = [];
  let page = '';
  for (let request = 0; request < REQUESTS; request += 1) {
    const begin = performance.now();
    page = await guest.fetch('/');
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  report.quote(page);
  const median = (times[times.length >> 1] ?? 0).toFixed(1);
  report.claim(
    'the guest serves HTTP through its NIC',
    page.includes('kemari'),
    `${REQUESTS} answers, median ${median} ms`,
  );
}

async function showDisk(guest: Guest): Promise<void> {
  report.step(`the guest writes ${WRITTEN_BYTES >> 20} MiB to its second disk and flushes`);
  const blocks = WRITTEN_BYTES >> 20;
  const inGuest = await guest.mustRun(
    `dd if=/dev/urandom of=/tmp/data bs=1M count=${blocks} 2>/dev/null && sha256sum </tmp/data && ` +
      `dd if=/tmp/data of=/dev/vdb bs=1M oflag=direct conv=fsync 2>/dev/null`,
  );
  const written = inGuest.split(' ')[0] ?? '';
  const found = await sumOf(join(guest.folder, 'data.img'), WRITTEN_BYTES);
  report.claim(
    "the disk's file has what the guest wrote",
    written === found,
    `SHA-256 ${found.slice(0, 16)}... on both sides`,
  );
}

async function sumOf(path: string, bytes: number): Promise<string> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
  } finally {
    await file.close();
  }
}

async function showCounters(guest: Guest): Promise<void> {
  report.step('what passed through the gate, by `kemari info`');
  report.quote(await guest.kemari('info', guest.name));
  const { gate, disks, vifs } = await guest.info();
  const outbound = disks.reduce((sum, disk) => sum + disk.writes + disk.flushes, vifs[0]?.txFrames ?? 0);
  report.claim(
    'every write, flush and frame passed it',
    gate.passed >= outbound,
    `${gate.passed} passed, ${outbound} of them counted`,
  );
}

async function showEnd(guest: Guest): Promise<void> {
  report.step('`kemari shutdown --wait`: the guest powers off by itself');
  report.quote(await guest.kemari('shutdown', '--wait', guest.name));
  const left = await guest.kemari('list', '--json');
  report.claim('the domain is gone', left.trim() === '[]', 'kemari list is empty');
}

try {
  const verified = await main();
  report.step(verified ? 'all of it was verified' : 'something above did not hold');
  process.exitCode = verified ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
