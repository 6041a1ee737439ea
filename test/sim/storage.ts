import type { Clock } from './clock.js';
import type { HostName } from './host.js';
import type { Output } from './guest.js';
import type { Random } from './random.js';

export const SECTORS = 4;

/** What a write takes at most, where nothing is wrong: less than a takeover takes. */
const USUAL_MS = 3;

/** The disk that both hosts reach. A write lands some time after it was submitted, unless a fence cut its host off before. */
export class Storage {
  /** The output that was written last, by sector; undefined: never written. */
  readonly sectors: (Output | undefined)[] = Array.from({ length: SECTORS }, () => undefined);
  readonly isFenced = { A: false, B: false };
  /** How much longer than usual a write may take, in milliseconds. */
  lateMs = 0;
  onLanding: (write: Output, by: HostName, isLate: boolean) => void = () => undefined;

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  /** `isLate`: its thread slept on the way here, for longer than any lease, perhaps. */
  submit(write: Output, by: HostName, isLate: boolean, landed: () => void): void {
    const late = this.lateMs > 0 && this.random.chance(0.5) ? this.random.between(0, this.lateMs) : 0;
    this.clock.after(this.random.between(0.2, USUAL_MS) + late, () => {
      if (this.isFenced[by]) return;
      this.sectors[write.sector] = write;
      this.onLanding(write, by, isLate || late > 0);
      landed();
    });
  }
}
