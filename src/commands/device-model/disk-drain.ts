import { setTimeout as delay } from 'node:timers/promises';
import type { RingDevice } from '../../native/addon.js';

const POLL_INTERVAL_MS = 1;

/**
 * Waits until no request of these disks is under way in storage: what is still pending is kept back by the gate and was
 * never submitted. The guest stands still, so nothing new comes. Returns early, with false, once `isWanted` says so.
 */
export async function diskDrain(
  disks: readonly Pick<RingDevice, 'submitted'>[],
  isWanted: () => boolean,
): Promise<boolean> {
  while (disks.some((disk) => disk.submitted() > 0)) {
    if (!isWanted()) return false;
    await delay(POLL_INTERVAL_MS);
  }
  return isWanted();
}
