import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { pattern, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { startNbdkitServer } from './nbd.js';
import { onStand, type Stand } from './stand.js';
import { until } from './until.js';

const DISK_BYTES = 1024 * 1024;

test.serial(
  'requests to a lost NBD server fail, and work again when it is back',
  onStand(async (t, stand) => {
    const { process: server, exited, uri } = await startNbdkitServer(stand, args());
    const { guest, events, device } = stand.openDisk({ target: { nbdUri: uri } });
    t.is(guest.write(0, pattern(4096, 1)), VIRTIO_BLK_S_OK);
    server.kill('SIGKILL');
    await exited;
    t.is(guest.read(0, 4096).status, VIRTIO_BLK_S_IOERR);
    await until(() => events.some(({ text }) => text.includes('lost its server')), 'the loss is told');
    t.true(device.stats().errors > 0);

    const socket = /socket=(.*)$/.exec(uri)![1]!;
    rmSync(socket);
    const again = spawn('nbdkit', ['--foreground', '--exit-with-parent', '--unix', socket, ...args()]);
    stand.onClose(() => void again.kill('SIGKILL'));
    await until(() => events.some(({ text }) => text.includes('has its server back')), 'the return is told');
    t.is(guest.write(8, pattern(4096, 2)), VIRTIO_BLK_S_OK);
    t.deepEqual(guest.read(8, 4096).data, pattern(4096, 2));
  }),
);

for (const filters of [['multi-conn'], ['fua', 'multi-conn']]) {
  test.serial(
    `where a flush need not reach what another connection wrote, a write that is answered is durable (${filters.join(', ')})`,
    onStand(async (t, stand) => {
      const path = stand.file('disk.img');
      writeFileSync(path, Buffer.alloc(DISK_BYTES));
      // What the server has not been told to keep goes with it.
      const volatile = [
        ...[...filters, 'cache'].map((filter) => `--filter=${filter}`),
        'file',
        path,
        'cache=writeback',
      ];
      const server = await startNbdkitServer(stand, [...volatile, 'multi-conn-mode=disable']);
      const { guest } = stand.openDisk({ target: { nbdUri: server.uri } });
      t.is(guest.write(8, pattern(4096, 1)), VIRTIO_BLK_S_OK);
      t.is(guest.write(16, pattern(4096, 2)), VIRTIO_BLK_S_OK);
      t.is(guest.writeZeroes(16, 8), VIRTIO_BLK_S_OK);
      server.process.kill('SIGKILL');
      await server.exited;
      await startNbdkitServer(stand, ['file', path], server.socket);
      await until(() => guest.flush() === VIRTIO_BLK_S_OK, 'the new connection is flushed');
      t.deepEqual(guest.read(8, 4096).data, pattern(4096, 1));
      t.deepEqual(guest.read(16, 4096).data, Buffer.alloc(4096));
    }),
  );
}

test.serial(
  'where a flush reaches what any connection wrote, writes do without it',
  onStand(async (t, stand) => {
    const log = stand.file('nbdkit.log');
    const { uri } = await startNbdkitServer(stand, ['--filter=log', ...args(), `logfile=${log}`]);
    const { guest } = stand.openDisk({ target: { nbdUri: uri } });
    t.is(guest.write(0, pattern(4096, 1)), VIRTIO_BLK_S_OK);
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    const lines = readFileSync(log, 'utf8').split('\n');
    t.true(lines.filter((line) => line.includes(' Write ')).every((line) => line.includes('fua=0')));
    t.is(lines.filter((line) => line.includes(' Flush ')).length, 1);
  }),
);

/** A disk that was read from, and whose server has stopped since. */
async function openStoppedDisk(t: ExecutionContext, stand: Stand): Promise<ReturnType<Stand['openDisk']>> {
  const { process: server, uri } = await startNbdkitServer(stand, args());
  const disk = stand.openDisk({ target: { nbdUri: uri } });
  t.is(disk.guest.read(0, 4096).status, VIRTIO_BLK_S_OK);
  server.kill('SIGSTOP');
  await until(() => isStopped(server.pid!), 'the server has stopped');
  return disk;
}

test.serial(
  'a disk is closed while its NBD server does not answer',
  onStand(async (t, stand) => {
    const { guest, device, frontEnd } = await openStoppedDisk(t, stand);
    guest.offer(0, 0, { read: 4096 });
    guest.driver.kick();
    await until(() => device.stats().inFlight === 1, 'the request is with the server');
    frontEnd.close();
    await device.close();
    t.is(device.stats().inFlight, 0);
    t.is(device.stats().unansweredWrites, 0, 'a read harms nobody, whenever it is carried out');
  }),
);

test.serial(
  'a disk that is closed before its NBD server has answered says what may still land',
  onStand(async (t, stand) => {
    const { guest, device, frontEnd } = await openStoppedDisk(t, stand);
    guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(4096, 1) });
    guest.driver.kick();
    await until(() => device.stats().inFlight === 1, 'the write is with the server');
    frontEnd.close();
    await device.close();
    t.is(device.stats().unansweredWrites, 1);
  }),
);

/** Whether every thread stands still: a signal takes its time to reach them (proc_pid_stat(5)). */
function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').includes(') T '),
  );
}

function args(): string[] {
  return ['memory', `size=${DISK_BYTES}`];
}
