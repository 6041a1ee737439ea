import { setTimeout as delay } from 'node:timers/promises';
import type { RingDevice } from '../../native/addon.js';

const POLL_INTERVAL_MS = 1;

/**
 * Waits until no request of these disks is under way in storage: what is still pending is held at the gate and was never
 * submitted. The guest stands still, so nothing new comes.
 */
export async function diskDrain(disks: readonly Pick<RingDevice, 'pending'>[]): Promise<void> {
  while (disks.some((disk) => disk.pending().some(({ held }) => !held))) await delay(POLL_INTERVAL_MS);
}
