import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.js';
import type { Bench } from './bench.js';
import { guestAddress } from '../../src/stage/private-network.js';
import { startOurs } from './ours.js';
import type { Row } from './rows.js';
import { copyRootImage } from './storage.js';
import { Undo } from '../../src/bench/undo.js';

const BOOT_TIMEOUT_MS = 120_000;
const GUEST_NUMBER = 9;

/** Boots guests from their root disk to service, one after the other, each from a fresh disk. */
export async function bootRow(bench: Bench, boots: number): Promise<Row> {
  let booted = 0;
  for (let boot = 1; boot <= boots; boot++) {
    bench.progress.step(`boot ${boot} of ${boots}`);
    const undo = new Undo();
    bench.undo.defer(`boot ${boot}`, () => undo.run());
    try {
      await bootOnce(bench, boot, undo);
      booted++;
    } catch (error) {
      bench.progress.say(`boot ${boot} failed: ${messageOf(error)}`);
    }
    await undo.run();
  }
  const ratio = booted / boots;
  return {
    name: 'guest boots',
    unit: 'boots',
    ours: booted,
    against: 'all of them',
    peer: boots,
    ratio,
    target: 1,
    bound: 'at-least',
    low: ratio,
    high: ratio,
  };
}

async function bootOnce(bench: Bench, boot: number, undo: Undo): Promise<void> {
  const root = join(bench.directory, `boot-${boot}.img`);
  await copyRootImage(bench.images.rootImage, root, undo);
  const guest = await startOurs(
    bench.stateDirectory,
    bench.domainFile({
      name: `boot-${boot}`,
      disks: [root],
      root: true,
      address: guestAddress(GUEST_NUMBER),
      services: 'http',
    }),
    bench.client,
    undo,
  );
  await guest.shell.waitUntilUp(BOOT_TIMEOUT_MS);
}
