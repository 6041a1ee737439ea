import type { EpochRecord } from './epoch-record.js';

/** An event of the Trace Event Format, which Perfetto and Chrome's viewer open. Times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  /** `X`: a span; `M`: metadata. */
  readonly ph: 'X' | 'M';
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, string | number>>;
}

/** What one row of the picture shows. Output of one epoch may be held while the next is on its way: rows of their own. */
const ROWS = ['guest', 'capture', 'device state', 'link', 'output'] as const;
type Row = (typeof ROWS)[number];

const US_PER_MS = 1000;

/** Epochs as spans, the first one at 0. Pure. */
export function chromeTrace(name: string, records: readonly EpochRecord[]): { readonly traceEvents: TraceEvent[] } {
  const originMs = Math.min(...records.map(({ heldAtMs, orderedAtMs }) => heldAtMs ?? orderedAtMs));
  const metadata = (what: string, tid: number, text: string): TraceEvent => {
    return { name: what, ph: 'M', pid: 1, tid, args: { name: text } };
  };
  const names = ROWS.map((row, index) => metadata('thread_name', index + 1, row));
  const events = records.flatMap((record) => spansOf(record, originMs));
  return { traceEvents: [metadata('process_name', 0, `kemari: ${name}`), ...names, ...events] };
}

function spansOf(record: EpochRecord, originMs: number): TraceEvent[] {
  const { epoch, timings, orderedAtMs, heldAtMs, ackedAtMs, pauseUs, busyShare } = record;
  const { dirtyPages, bytes } = record;
  const toUs = (atMs: number): number => (atMs - originMs) * US_PER_MS;
  const span = (row: Row, what: string, ts: number, dur: number, more: TraceEvent['args'] = {}): TraceEvent => {
    return { name: what, ph: 'X', pid: 1, tid: ROWS.indexOf(row) + 1, ts, dur, args: { epoch, ...more } };
  };
  const stillUs = toUs(orderedAtMs) + timings.triggerUs;
  const stoppedUs = stillUs + timings.stopUs;
  const scannedUs = stoppedUs + timings.scanUs;
  const resumingUs = Math.max(scannedUs + timings.copyUs, stoppedUs + timings.serializeUs);
  return [
    ...(heldAtMs === undefined ? [] : [span('output', 'held', toUs(heldAtMs), toUs(ackedAtMs) - toUs(heldAtMs))]),
    // Where it is held its pause ends with the ack.
    span('guest', 'stands still', stillUs, timings.resumeUs > 0 ? pauseUs : toUs(ackedAtMs) - stillUs, {
      dirtyPages,
      bytes,
      busyShare,
    }),
    span('capture', 'trigger', toUs(orderedAtMs), timings.triggerUs),
    span('capture', 'stop', stillUs, timings.stopUs),
    span('capture', 'scan', stoppedUs, timings.scanUs, { dirtyPages }),
    span('capture', 'copy', scannedUs, timings.copyUs, { bytes }),
    ...(timings.resumeUs > 0 ? [span('capture', 'resume', resumingUs, timings.resumeUs)] : []),
    span('device state', 'serialize', stoppedUs, timings.serializeUs),
    ...linkParts(record).map(([what, endUs, us]) => span('link', what, toUs(ackedAtMs) + endUs - us, us, { bytes })),
  ];
}

/** What, when it ended before the release, and how long it took. None where the ack was of a later epoch. */
function linkParts({ link }: EpochRecord): readonly (readonly [string, number, number])[] {
  if (link === undefined) return [];
  const { encodeUs, sendUs, ackUs, releaseUs } = link;
  return [
    ['encode', -(releaseUs + ackUs + sendUs), encodeUs],
    ['send', -(releaseUs + ackUs), sendUs],
    ['receive, check, ack', -releaseUs, ackUs],
    ['release', 0, releaseUs],
  ];
}
