import { writeFileSync } from 'node:fs';
import test from 'ava';
import { addon } from '../../src/native/addon.js';
import { DiskGuest, pattern, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN } from './disk-guest.js';
import { GuestRam } from './guest-ram.js';
import { startNbdkit } from './nbd.js';
import { onStand, type Stand } from './stand.js';

const PAGE_BYTES = 4096;
/** What the tests below use of guest memory lies under this address: only that much is compared. */
const COMPARED_BYTES = 4 * 1024 * 1024;

function diskFile(stand: Stand): string {
  const path = stand.file('disk.img');
  writeFileSync(path, Buffer.concat(Array.from({ length: 2048 }, (_, sector) => pattern(512, sector))));
  return path;
}

function takeDirty(stand: Stand): Set<number> {
  const pages = new Set<number>();
  for (const { first, count } of addon.takeDirty(stand.ram.fd)) {
    for (let page = first; page < first + count; page += 1) pages.add(page);
  }
  return pages;
}

/** Pages whose bytes differ from those of `before`. */
function changedPages(stand: Stand, before: Buffer): number[] {
  const now = stand.ram.slice(0, COMPARED_BYTES);
  const pages: number[] = [];
  for (let page = 0; page < COMPARED_BYTES / PAGE_BYTES; page += 1) {
    const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
    if (now.compare(before, start, end, start, end) !== 0) pages.push(page);
  }
  return pages;
}

const WAYS = ['io_uring', 'threads', 'NBD'] as const;

for (const way of WAYS) {
  test.serial(
    `${way}: every page that the disk wrote is marked, and taking clears the marks`,
    onStand(async (t, stand) => {
      const path = diskFile(stand);
      const target = way === 'NBD' ? { nbdUri: await startNbdkit(stand, ['file', path]) } : { path };
      const engine = way === 'NBD' ? 'auto' : way;
      const { guest, driver } = stand.openDisk({ target, engine }, { slots: 16, size: 64 });
      let changedInAll = 0;
      for (let round = 0; round < 40; round += 1) {
        for (let i = 0; i < 10; i += 1) {
          const sectors = 1 + ((round * 7 + i * 13) % 64);
          const cut = i % 3 === 0 ? [1 + ((round * 97) % 5000), 333] : [];
          guest.offer(VIRTIO_BLK_T_IN, (round * 31 + i * 64) % 1900, { read: sectors * 512, cut });
        }
        guest.offer(VIRTIO_BLK_T_GET_ID, 0, { read: 20 });
        driver.askForCall(11); // written before the picture is taken: what differs after it is the device's doing
        takeDirty(stand);
        const before = Buffer.from(stand.ram.slice(0, COMPARED_BYTES));
        driver.kick();
        for (const entry of driver.spin(11)) t.is(guest.answered(entry).status, VIRTIO_BLK_S_OK);
        const dirty = takeDirty(stand);
        const changed = changedPages(stand, before);
        changedInAll += changed.length;
        t.deepEqual(
          changed.filter((page) => !dirty.has(page)),
          [],
          `round ${round}`,
        );
      }
      t.true(changedInAll > 40 * 10, 'the disk did write');
      guest.read(0, 512);
      takeDirty(stand);
      t.deepEqual(addon.takeDirty(stand.ram.fd), []);
    }),
  );
}

test.serial(
  'a page is marked before its completion can be seen',
  onStand((t, stand) => {
    const { guest, driver } = stand.openDisk({ target: { path: diskFile(stand) } }, { slots: 2 });
    const usedPage = Math.floor(driver.usedGpa / PAGE_BYTES);
    let unmarked = 0;
    for (let turn = 0; turn < 3000; turn += 1) {
      takeDirty(stand); // before the offer: the device may find it without a kick
      const request = guest.offer(VIRTIO_BLK_T_IN, turn % 2000, { read: 4096 });
      driver.kick();
      const [entry] = driver.spin();
      const dirty = takeDirty(stand);
      const dataPage = Math.floor((request.slot.gpa + PAGE_BYTES) / PAGE_BYTES);
      if (!dirty.has(dataPage) || !dirty.has(usedPage)) unmarked += 1;
      guest.answered(entry!);
    }
    t.is(unmarked, 0);
  }),
);

test.serial(
  'pages beyond 4 GiB are marked where they lie in the file',
  onStand((t, stand) => {
    const { driver } = stand.openDisk({ target: { path: diskFile(stand) } }, { slots: 2 });
    const header = stand.ram.allocate(16);
    const gpa = GuestRam.HIGH_GPA + 5 * PAGE_BYTES - 100;
    takeDirty(stand);
    driver.add([{ gpa: header, length: 16 }], [{ gpa, length: 513 }]);
    driver.kick();
    driver.wait();
    const dirty = takeDirty(stand);
    const first = GuestRam.HALF / PAGE_BYTES + 4;
    t.true(dirty.has(first) && dirty.has(first + 1));
    t.false(dirty.has(first - 1) || dirty.has(first + 2));
  }),
);

test.serial(
  'what is published after a restart is marked after the restart',
  onStand((t, stand) => {
    const { frontEnd, device, driver } = stand.openDisk({ target: { path: diskFile(stand) } }, { slots: 2 });
    device.setSuspendOnStop(true);
    const guest = new DiskGuest(driver, 4);
    const usedPage = Math.floor(driver.usedGpa / PAGE_BYTES);
    for (let turn = 0; turn < 200; turn += 1) {
      guest.offer(VIRTIO_BLK_T_IN, turn, { read: 4096 });
      driver.kick();
      const base = frontEnd.stopQueue(0);
      takeDirty(stand); // a cut
      const before = driver.usedIndex;
      frontEnd.setMemory();
      frontEnd.startQueue(driver, base);
      guest.wait(driver.outstanding);
      if (driver.usedIndex !== before && !takeDirty(stand).has(usedPage)) t.fail(`turn ${turn}`);
    }
    t.is(guest.inFlight, 0);
  }),
);
