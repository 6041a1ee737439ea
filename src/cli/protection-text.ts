import type { CopyInfo, ProtectionEvent, ProtectionInfo } from '../commands/info.js';

const PAGE_BYTES = 4096;
const MIB = 1 << 20;
const US_PER_MS = 1000;

export function milliseconds(us: number): string {
  return (us / US_PER_MS).toFixed(us < 10_000 ? 2 : 1);
}

/** `0 B/s`, `12.3 MB/s`: powers of 1000, as links are sold. */
export function rate(bytesPerSecond: number): string {
  if (bytesPerSecond >= 1e9) return `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`;
  if (bytesPerSecond >= 1e6) return `${(bytesPerSecond / 1e6).toFixed(1)} MB/s`;
  return `${(bytesPerSecond / 1e3).toFixed(1)} kB/s`;
}

/** How the first copy of memory goes on, on one line. */
export function copyText({ round, pagesLeft, bytesPerSecond, secondsLeft }: CopyInfo): string {
  const left = `${pagesLeft} pages (${((pagesLeft * PAGE_BYTES) / MIB).toFixed(0)} MiB) left`;
  const time = secondsLeft === undefined ? '' : `, about ${secondsLeft.toFixed(0)} s`;
  return `copying memory, round ${round}: ${left}, ${rate(bytesPerSecond)}${time}`;
}

/** A protected domain on one line; the one that `migrate` keeps up to date. */
export function statusText(info: ProtectionInfo): string {
  if (info.copying !== undefined) return copyText(info.copying);
  const { state, epoch, epochsPerSecond, dirtyPages, pauseUs, held, lagMs, linkBytesPerSecond, regime } = info;
  return [
    `${state}: epoch ${epoch}`,
    `${epochsPerSecond.toFixed(1)}/s`,
    `${dirtyPages} pages`,
    `pause ${milliseconds(pauseUs.p50)} ms (p99 ${milliseconds(pauseUs.p99)})`,
    `held ${held}`,
    `lag ${lagMs.toFixed(0)} ms`,
    rate(linkBytesPerSecond),
    regime,
  ].join(', ');
}

/** What is told line by line; undefined for what only changes the status line. */
export function eventText(event: ProtectionEvent): string | undefined {
  if (event.type !== 'log') return undefined;
  const time = new Date(event.atMs).toISOString();
  return `${time} ${event.level === 'info' ? '' : `${event.level.toUpperCase()}: `}${event.text}`;
}

/** The part of `kemari info` that says how a domain is protected. */
export function protectionFacts(info: ProtectionInfo): (readonly [string, string])[] {
  const { state, policy, host, port, standby, encrypted, sinceMs, epoch, ackedEpoch, pauseUs, releaseUs } = info;
  const since = sinceMs === undefined ? '' : `, since ${new Date(sinceMs).toISOString()}`;
  const compression = info.rawBytes === 0 ? '' : ` (${((100 * info.sentBytes) / info.rawBytes).toFixed(0)} % of raw)`;
  return [
    ['protection', `${state}${since}, ${policy}, ${info.regime}`],
    ['standby', `${standby === '' ? host : `${standby} (${host}:${port})`}, ${encrypted ? 'TLS' : 'PLAIN'}`],
    [
      'if silent',
      `here: ${info.onSilence}; there: ${info.failover} takeover; lease ${info.leaseValid ? 'valid' : 'over'}`,
    ],
    ...(info.copying === undefined ? [] : [['copying', copyText(info.copying)] as const]),
    [
      'epoch',
      `${epoch}, acknowledged ${ackedEpoch}, ${info.epochsPerSecond.toFixed(1)}/s, ${info.dirtyPages} dirty pages`,
    ],
    [
      'pause',
      `p50 ${milliseconds(pauseUs.p50)}, p99 ${milliseconds(pauseUs.p99)}, max ${milliseconds(pauseUs.max)} ms; ` +
        `${(100 * info.pauseShare).toFixed(1)} % of the time`,
    ],
    [
      'output',
      `${info.held} held; held for p50 ${milliseconds(releaseUs.p50)}, p99 ${milliseconds(releaseUs.p99)} ms, ` +
        `${(100 * info.scriptShare).toFixed(0)} % of it script`,
    ],
    ['lag', `${info.lagMs.toFixed(0)} ms, ${(info.unackedBytes / MIB).toFixed(1)} MiB not acknowledged`],
    [
      'link',
      `${rate(info.linkBytesPerSecond)}, ${(info.sentBytes / MIB).toFixed(0)} MiB sent${compression}, ` +
        `ack ${milliseconds(info.ackUs)} ms`,
    ],
    ['lost time', `${(info.lostGuestMs / 1000).toFixed(1)} s of the guest's`],
  ];
}
