import { truncateSync, writeFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { pattern, VIRTIO_BLK_S_OK } from './disk-guest.js';
import { holdings, Stand } from './stand.js';
import { until } from './until.js';

/** A disk file of 1 MiB. */
export function diskFile(stand: Stand, name: string): { readonly target: { readonly path: string } } {
  const path = stand.file(name);
  writeFileSync(path, '');
  truncateSync(path, 1024 * 1024);
  return { target: { path } };
}

/**
 * A test of one hostile guest or front-end beside a decent one in the same process: the decent one's disk must go on
 * serving, and once the stand is gone every descriptor, thread and mapping must be, too.
 */
export function besideOthers(
  body: (t: ExecutionContext, stand: Stand) => Promise<void> | void,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    const before = holdings();
    const stand = new Stand();
    try {
      const bystander = stand.openDisk(diskFile(stand, 'bystander.img'), { size: 8, slots: 2 });
      t.is(bystander.guest.write(1, pattern(512, 1)), VIRTIO_BLK_S_OK);
      await body(t, stand);
      t.deepEqual(bystander.guest.read(1, 512).data, pattern(512, 1));
      t.is(bystander.guest.write(2, pattern(512, 2)), VIRTIO_BLK_S_OK);
      t.false(bystander.events.some((event) => event.type !== 'started'));
    } finally {
      await stand.close();
    }
    await until(
      () => {
        const after = holdings();
        return after.fds <= before.fds && after.threads <= before.threads;
      },
      `all is given back: ${JSON.stringify(before)}, now ${JSON.stringify(holdings())}`,
    );
  };
}
