import { STORAGE_SILENT_MS } from '../../host/contract.js';
import type { DeviceEvent, Disk } from '../../native/addon.js';

/** How often disks are looked at. */
const LOOK_EVERY_MS = 1_000;

export type WatchedDisk = Pick<Disk, 'submitted' | 'stats'>;

interface Seen {
  /** Requests that were answered, one way or the other. */
  readonly answered: number;
  /** Since when none was although some are with storage; undefined: none is. */
  readonly sinceMs: number | undefined;
  readonly told: boolean;
}

/**
 * Sees that storage has stopped to answer: a server that is gone without its connection's being lost fails no request, so nothing
 * else would say why the guest stands still.
 */
export class StorageWatch {
  readonly #disks: readonly WatchedDisk[];
  readonly #onEvent: (index: number, event: DeviceEvent) => void;
  readonly #seen = new Map<WatchedDisk, Seen>();
  readonly #timer: NodeJS.Timeout;

  /** `disks` may grow. It looks at them until `close`, by itself. */
  constructor(disks: readonly WatchedDisk[], onEvent: (index: number, event: DeviceEvent) => void) {
    this.#disks = disks;
    this.#onEvent = onEvent;
    this.#timer = setInterval(() => {
      this.look(performance.now());
    }, LOOK_EVERY_MS).unref();
  }

  /** `nowMs`: of a clock that does not go back. */
  look(nowMs: number): void {
    for (const [index, disk] of this.#disks.entries()) {
      const before = this.#seen.get(disk);
      const { reads, writes, flushes, discards, errors } = disk.stats();
      const answered = reads + writes + flushes + discards + errors;
      const waits = disk.submitted() > 0;
      const same = waits && before?.sinceMs !== undefined && before.answered === answered;
      const sinceMs = waits ? (same ? before.sinceMs : nowMs) : undefined;
      const silentMs = sinceMs === undefined ? 0 : nowMs - sinceMs;
      const told = same && (before.told || silentMs >= STORAGE_SILENT_MS);
      this.#seen.set(disk, { answered, sinceMs, told });
      const toldBefore = before?.told ?? false;
      if (told && !toldBefore) this.#tell(index, `storage has not answered for ${seconds(silentMs)} s`);
      if (!told && toldBefore)
        this.#tell(index, `storage answers again, after ${seconds(nowMs - (before?.sinceMs ?? nowMs))} s`);
    }
  }

  /** For how long this disk's storage has answered nothing, in milliseconds; 0: it owes no answer. */
  silentMs(disk: WatchedDisk, nowMs: number): number {
    const sinceMs = this.#seen.get(disk)?.sinceMs;
    return sinceMs === undefined ? 0 : nowMs - sinceMs;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tell(index: number, text: string): void {
    this.#onEvent(index, { type: 'io-error', code: 'KEMARI_DISK_SILENT', text });
  }
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(0);
}
