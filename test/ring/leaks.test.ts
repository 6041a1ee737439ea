import test from 'ava';
import { pattern, VIRTIO_BLK_S_OK } from './disk-guest.js';
import { diskFile } from './hostile.js';
import { startNbdkit } from './nbd.js';
import { holdings, Stand } from './stand.js';
import { until } from './until.js';
import type { DiskOptions } from '../../src/native/addon.js';

const ROUNDS = 50;
const WARM_UP = 10;
/** Noise of the collector and the allocator over 40 rounds; a device alone has more in rings and buffers. */
const RSS_SLACK_BYTES = 24 * 1024 * 1024;

type Target = Partial<DiskOptions> & Pick<DiskOptions, 'target'>;

const WAYS: readonly { name: string; target: (stand: Stand) => Promise<Target> }[] = [
  { name: 'io_uring', target: (stand) => Promise.resolve({ ...diskFile(stand, 'd.img'), engine: 'io_uring' }) },
  { name: 'threads', target: (stand) => Promise.resolve({ ...diskFile(stand, 'd.img'), engine: 'threads' }) },
  { name: 'NBD', target: async (stand) => ({ target: { nbdUri: await startNbdkit(stand, ['memory', 'size=1M']) } }) },
];

for (const way of WAYS) {
  test.serial(
    `${way.name}: ${ROUNDS} disks that came and went leave no descriptor, thread, map or memory`,
    async (t) => {
      const outer = new Stand();
      try {
        const target = await way.target(outer);
        let before = holdings();
        for (let round = 0; round < ROUNDS; round += 1) {
          if (round === WARM_UP) before = holdings();
          const stand = new Stand(outer.ram);
          outer.ram.forget();
          const { guest, device } = stand.openDisk(target, { slots: 8 });
          for (let sector = 0; sector < 8; sector += 1) {
            if (guest.write(sector, pattern(512, sector)) !== VIRTIO_BLK_S_OK) t.fail(`round ${round}`);
          }
          if (round % 2 === 0) await device.close(); // the others end because the front-end goes first
          await stand.close();
        }
        await until(
          () => {
            const after = holdings();
            return after.fds <= before.fds && after.threads <= before.threads && after.ramMaps <= before.ramMaps;
          },
          `all is given back: ${JSON.stringify(before)}`,
        );
        const grownBytes = holdings().rssBytes - before.rssBytes;
        t.true(grownBytes < RSS_SLACK_BYTES, `resident memory grew by ${grownBytes} bytes`);
      } finally {
        await outer.close();
      }
    },
  );
}
