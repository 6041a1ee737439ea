import type { ProtectionInfo } from '../host/contract.js';
import type { EpochRecord } from '../host/epoch-record.js';
import { EPOCH_PARTS, type EpochFigures, type EpochParts } from './ledger.js';
import { median, quantile } from './statistics.js';

const MS_PER_S = 1000;
const US_PER_MS = 1000;

/** What a protection has counted up to a moment. */
export interface EpochCount {
  /** By a clock that goes on evenly, in milliseconds. */
  readonly atMs: number;
  readonly epoch: bigint;
  readonly lostGuestMs: number;
  readonly sentBytes: number;
  readonly rawBytes: number;
  readonly sentPages: number;
  readonly linkCpuMs: number;
}

export function countOf(info: ProtectionInfo, atMs: number): EpochCount {
  const { epoch, lostGuestMs, sentBytes, rawBytes, sentPages, linkCpuMs } = info;
  return { atMs, epoch: BigInt(epoch), lostGuestMs, sentBytes, rawBytes, sentPages, linkCpuMs };
}

/**
 * What the epochs between two moments were; undefined when there were none. Of `records` those count that came in between: the
 * last of them, where there were more than are kept.
 */
export function figuresBetween(
  before: EpochCount,
  after: EpochCount,
  records: readonly EpochRecord[],
): EpochFigures | undefined {
  const own = records.filter(({ epoch }) => BigInt(epoch) > before.epoch && BigInt(epoch) <= after.epoch);
  if (own.length === 0) return undefined;
  const of = (share: number, value: (record: EpochRecord) => number): number => quantile(own.map(value), share);
  const releasesUs = own.flatMap(({ heldAtMs, ackedAtMs }) =>
    heldAtMs === undefined ? [] : [(ackedAtMs - heldAtMs) * US_PER_MS],
  );
  const spanMs = after.atMs - before.atMs;
  return {
    perSecond: (Number(after.epoch - before.epoch) * MS_PER_S) / spanMs,
    pauseP50Us: of(0.5, pauseOf),
    pauseP99Us: of(0.99, pauseOf),
    pauseShare: (after.lostGuestMs - before.lostGuestMs) / spanMs,
    dirtyPages: of(0.5, ({ dirtyPages }) => dirtyPages),
    ...(releasesUs.length === 0 ? {} : { releaseP50Us: quantile(releasesUs, 0.5) }),
    sentBytes: after.sentBytes - before.sentBytes,
    rawBytes: after.rawBytes - before.rawBytes,
    sentPages: after.sentPages - before.sentPages,
    linkCpuMs: after.linkCpuMs - before.linkCpuMs,
    parts: medianParts(own),
  };
}

/** In microseconds. Where the guest is held until the ack, its pause ends with that. */
export function pauseOf({ timings, pauseUs, orderedAtMs, ackedAtMs }: EpochRecord): number {
  return timings.resumeUs > 0 ? pauseUs : (ackedAtMs - orderedAtMs) * US_PER_MS - timings.triggerUs;
}

/** The state is written beside scan and copy, and what leaves goes out as soon as both are whole. */
function partsOf({ timings, link }: EpochRecord): EpochParts {
  const { triggerUs: trigger, stopUs: stop, scanUs: scan, copyUs: copy, serializeUs, resumeUs: resume } = timings;
  const capture = { trigger, stop, scan, copy, state: Math.max(0, serializeUs - scan - copy), resume };
  if (link === undefined) return capture;
  return { ...capture, encode: link.encodeUs, send: link.sendUs, ack: link.ackUs, release: link.releaseUs };
}

/** Of each part the median over the epochs of which it is known. */
export function medianParts(records: readonly EpochRecord[]): EpochParts {
  const all = records.map(partsOf);
  return Object.fromEntries(
    EPOCH_PARTS.flatMap((part) => {
      const known = all.flatMap((parts) => parts[part] ?? []);
      return known.length === 0 ? [] : [[part, median(known)]];
    }),
  );
}
