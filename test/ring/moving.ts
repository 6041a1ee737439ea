import { addon, type DeviceEvent, type Disk, type DiskOptions, type OutputGate } from '../../src/native/addon.js';
import type { SplitDriver } from './driver.js';
import type { FrontEnd } from './front-end.js';
import { BLK_FEATURES, type Connected, type Stand } from './stand.js';

/** A device at a cut: where its queues stand, its part of the checkpoint, and guest memory. */
export interface Cut {
  readonly bases: readonly number[];
  readonly bytes: Buffer;
  readonly ram: Uint8Array;
}

/** Stops the machine (its queues), cuts gate and device, and copies memory, as a capture does. */
export function cutAt(
  stand: Stand,
  { device, frontEnd }: Pick<Connected<{ cut(): Buffer; setSuspendOnStop(on: boolean): void }>, 'device' | 'frontEnd'>,
  drivers: readonly SplitDriver[],
): Cut {
  device.setSuspendOnStop(true);
  const bases = drivers.map(({ index }) => frontEnd.stopQueue(index));
  stand.gate.cut();
  const bytes = device.cut();
  return { bases, bytes, ram: stand.ram.bytes.slice() };
}

export interface Standby {
  readonly device: Disk;
  readonly frontEnd: FrontEnd;
  readonly events: readonly DeviceEvent[];
  readonly gate: OutputGate;
}

/** A disk that waits to take over, with what a standby knows of it. */
export function standbyDisk(
  stand: Stand,
  primary: Disk,
  options: Partial<DiskOptions> & Pick<DiskOptions, 'target'>,
): Standby {
  const gate = options.gate ?? new addon.OutputGate();
  return { ...stand.connectDisk({ deferred: primary.geometry, gate, ...options }), gate };
}

/**
 * The primary's end and the standby's start: guest memory is that of the cut, then `spoil` does to it what a guest may have
 * done to its buffers; then the machine runs.
 */
export async function takeOver(
  stand: Stand,
  standby: Standby,
  cut: Cut,
  drivers: readonly SplitDriver[],
  spoil: () => void = () => undefined,
  withoutFeatures = 0n,
): Promise<void> {
  stand.ram.bytes.set(cut.ram);
  spoil();
  await standby.device.open({ steal: true });
  standby.device.restore(cut.bytes);
  standby.frontEnd.negotiate(BLK_FEATURES, withoutFeatures);
  standby.frontEnd.setMemory();
  for (const [place, driver] of drivers.entries()) standby.frontEnd.startQueue(driver, cut.bases[place] ?? 0);
}
