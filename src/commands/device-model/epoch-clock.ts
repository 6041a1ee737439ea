import { performance } from 'node:perf_hooks';
import type { EpochRecord, LinkTimings } from '../../host/epoch-record.js';
import type { CaptureResult } from '../../native/capture.js';
import type { EpochWay } from '../../native/link.js';
import type { EpochTrace } from './epoch-trace.js';
import type { EpochWindow } from './epoch-window.js';

const US_PER_MS = 1000;
const NS_PER_US = 1000;

interface Moment {
  readonly atMs: number;
  /** What JavaScript had taken by then. */
  readonly scriptMs: number;
}

interface Captured {
  readonly beganAtMs: number;
  readonly endedAtMs: number;
  readonly bytes: number;
  readonly result: CaptureResult;
}

/** Times an epoch on its way: from the first thing that was held to the ack that lets it out, and what script took of it. */
export class EpochClock {
  readonly #window: EpochWindow;
  readonly #trace: EpochTrace;
  /** The oldest thing that is held and not in any epoch yet. */
  #held: Moment | undefined;
  readonly #heldOf = new Map<bigint, Moment>();
  /** What is not acknowledged. */
  readonly #captured = new Map<bigint, Captured>();
  #scriptMs = 0;

  constructor(window: EpochWindow, trace: EpochTrace) {
    this.#window = window;
    this.#trace = trace;
  }

  /** JavaScript ran since then. */
  addScript(sinceMs: number): void {
    this.#scriptMs += performance.now() - sinceMs;
  }

  held(atMs: number): void {
    this.#held ??= { atMs, scriptMs: this.#scriptMs };
  }

  ordered(epoch: bigint): void {
    if (this.#held !== undefined) this.#heldOf.set(epoch, this.#held);
    this.#held = undefined;
  }

  /** `bytes`: of the checkpoint, before encoding. */
  captured(result: CaptureResult, bytes: number, beganAtMs: number): void {
    this.#captured.set(result.epoch, { beganAtMs, endedAtMs: performance.now(), bytes, result });
  }

  /** This epoch and all before it are safe, and what they cover is out. */
  acked(acked: bigint, way?: EpochWay): void {
    const nowMs = performance.now();
    const link = way && linkTimings(way);
    for (const [epoch, captured] of this.#captured) {
      if (epoch > acked) break;
      this.#captured.delete(epoch);
      const held = this.#heldOf.get(epoch);
      this.#heldOf.delete(epoch);
      this.#trace.add(recordOf(captured, held?.atMs, nowMs, epoch === acked ? link : undefined));
      if (held === undefined) continue;
      const scriptUs = (this.#scriptMs - held.scriptMs) * US_PER_MS;
      this.#window.addRelease(nowMs, (nowMs - held.atMs) * US_PER_MS, scriptUs);
    }
  }

  /** Age of the oldest epoch that is not acknowledged; 0 without any. */
  lagMs(nowMs: number): number {
    const [oldest] = this.#captured.values();
    return oldest === undefined ? 0 : nowMs - oldest.beganAtMs;
  }
}

function linkTimings({ encodeUs, sendUs, ackUs, heardAtUs }: EpochWay): LinkTimings {
  return { encodeUs, sendUs, ackUs, releaseUs: Number(process.hrtime.bigint()) / NS_PER_US - heardAtUs };
}

function recordOf(
  captured: Captured,
  heldAtMs: number | undefined,
  ackedAtMs: number,
  link: LinkTimings | undefined,
): EpochRecord {
  const { beganAtMs, endedAtMs, bytes, result } = captured;
  const { timings, pauseUs, busyShare, dirtyPages } = result;
  return {
    ...{ epoch: result.epoch.toString(), timings, pauseUs, busyShare, dirtyPages, bytes, link },
    heldAtMs: heldAtMs === undefined ? undefined : toUnix(heldAtMs),
    orderedAtMs: toUnix(beganAtMs),
    capturedAtMs: toUnix(endedAtMs),
    ackedAtMs: toUnix(ackedAtMs),
  };
}

/** To the microsecond. */
function toUnix(atMs: number): number {
  return Math.round((performance.timeOrigin + atMs) * US_PER_MS) / US_PER_MS;
}
