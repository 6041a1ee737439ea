import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { waitUntil } from '../../src/base/deadline.js';
import { KemariError } from '../../src/base/errors.js';
import type { DiskConfig } from '../../src/model/domain-config.js';
import { blockdev } from './blockdev.js';
import type { Undo } from '../../src/bench/undo.js';

const START_TIMEOUT_MS = 10_000;

/** Exports each disk as a vhost-user-blk device on its socket and returns the process id once all of them listen. */
export async function startStorageDaemon(
  disks: readonly DiskConfig[],
  sockets: readonly string[],
  undo: Undo,
): Promise<number> {
  const args = disks.flatMap((disk, index) => [
    ...['--blockdev', blockdev(disk, `disk${index}`)],
    '--export',
    `type=vhost-user-blk,id=export${index},node-name=disk${index},addr.type=unix,addr.path=${sockets[index]!},` +
      `num-queues=${disk.queues},writable=${disk.readOnly ? 'off' : 'on'}`,
  ]);
  const child = spawn('qemu-storage-daemon', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  // A program that cannot be started has no process id.
  child.once('error', () => undefined);
  const ended = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  undo.defer('qemu-storage-daemon', () => child.kill('SIGKILL'));
  const listening = await waitUntil(() => ended() || sockets.every((socket) => existsSync(socket)), {
    timeoutMs: START_TIMEOUT_MS,
  });
  if (!listening || ended() || child.pid === undefined) {
    throw new KemariError('KEMARI_BENCH_STORAGE_DAEMON', 'qemu-storage-daemon did not start to listen');
  }
  return child.pid;
}
