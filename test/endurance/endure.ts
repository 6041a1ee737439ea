import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { ProtectionInfo } from '../../src/host/contract.js';
import { hostPaths, logPath } from '../../src/host/paths.js';
import { HOST_NAMES } from '../../src/stage/names.js';
import { GUEST_NAME, StagedGuest } from '../../src/stage/staged-guest.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { median } from '../../src/bench/statistics.js';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { Watch, type Watched } from './watch.js';

export interface EnduranceOptions {
  readonly durationMs: number;
  readonly say: (text: string) => void;
}

export interface EnduranceReport {
  readonly minutes: number;
  readonly epochs: number;
  readonly messages: number;
  /** Median over the windows of ten seconds of each one's 99th percentile, in microseconds. */
  readonly pauseP99Us: { readonly first: number; readonly last: number; readonly ratio: number };
  /** The machine's load average over a minute, median of the same windows: pauses are only compared at a like load. */
  readonly load: { readonly first: number; readonly last: number };
  readonly watched: readonly Watched[];
  /** What did not hold, in words; empty where all did. */
  readonly broken: readonly string[];
}

/** The counters of a protection look back so long: each sample tells of a time of its own. */
const SAMPLE_MS = 10_000;

/** Of the run: what is compared at its two ends, ten minutes of an hour. */
const END_SHARE = 1 / 6;

export const PAUSE_LIMIT = 1.2;

/** Writes to disk and to memory, again and again; both at a rate that pacing need not bound. */
const LOAD = `
  while :; do
    dd if=/dev/urandom of=/root/load bs=64k count=16 oflag=direct conv=notrunc,fsync
    dd if=/dev/zero of=/dev/shm/load bs=1M count=4 conv=notrunc
    sleep 0.2
  done
`;

/**
 * Fills the cache of sent pages, which deltas are made against (64 MiB, addon/link): it would go on growing for a quarter of an
 * hour, page by page, and look like a leak.
 */
const WARM_UP_TIMEOUT_MS = 120_000;
const WARM_UP = 'dd if=/dev/urandom of=/dev/shm/warm bs=1M count=96 && rm /dev/shm/warm';

/**
 * Keeps a guest protected under load and watches what the processes of both hosts take meanwhile. A client talks with the
 * guest all the time; that nothing of it is lost is part of what has to hold.
 */
export async function endure({ durationMs, say }: EnduranceOptions): Promise<EnduranceReport> {
  const stage = await TwoHosts.up(`endure-${process.pid}`, { owned: true });
  try {
    say('a guest boots and is protected');
    const guest = await StagedGuest.boot(stage, { image: GUEST_IMAGE });
    const daemons = { A: await guest.startDaemon('A'), B: await guest.startDaemon('B') };
    await guest.protect('A');
    await guest.run(WARM_UP, WARM_UP_TIMEOUT_MS);
    await guest.run(`(${LOAD}) >/dev/null 2>&1 &`);
    const conversation = await guest.converse();
    const watch = new Watch();
    const windows: Window[] = [];
    const startedAtMs = performance.now();
    let protection: ProtectionInfo | undefined;
    for (let atMs = 0; atMs < durationMs; atMs = performance.now() - startedAtMs) {
      await delay(Math.min(SAMPLE_MS, durationMs - atMs));
      atMs = performance.now() - startedAtMs;
      protection = await sample(guest, daemons, watch, atMs);
      windows.push({ atMs, p99Us: protection.pauseUs.p99, load: loadavg()[0] ?? NaN });
      say(progressText(atMs, durationMs, protection, conversation.answered));
    }
    const said = await conversation.stop();
    const first = typical(windows.filter(({ atMs }) => atMs <= endMs(durationMs)));
    const last = typical(windows.filter(({ atMs }) => atMs >= durationMs - endMs(durationMs)));
    const watched = watch.results(endMs(durationMs));
    const broken = [
      ...watched.filter(({ flat }) => !flat).map((each) => `${each.who}: ${growthText(each)}`),
      ...said.violations,
      ...(said.broken === undefined ? [] : [`the client's connection: ${said.broken}`]),
      ...(said.unanswered === 0 ? [] : [`messages without an answer: ${said.unanswered}`]),
    ];
    return {
      ...{ minutes: durationMs / 60_000, epochs: Number(protection?.epoch ?? 0), messages: said.answered },
      pauseP99Us: { first: first.p99Us, last: last.p99Us, ratio: last.p99Us / first.p99Us },
      load: { first: first.load, last: last.load },
      ...{ watched, broken },
    };
  } finally {
    await stage.down();
  }
}

/** What was seen at the end of one of ten seconds. */
interface Window {
  readonly atMs: number;
  readonly p99Us: number;
  readonly load: number;
}

function typical(windows: readonly Window[]): Omit<Window, 'atMs'> {
  return { p99Us: median(windows.map(({ p99Us }) => p99Us)), load: median(windows.map(({ load }) => load)) };
}

/** At least one sample at either end, however short the run. */
function endMs(durationMs: number): number {
  return Math.max(durationMs * END_SHARE, 1.5 * SAMPLE_MS);
}

async function sample(
  guest: StagedGuest,
  daemons: Readonly<Record<'A' | 'B', number>>,
  watch: Watch,
  atMs: number,
): Promise<ProtectionInfo> {
  const [primary, standby] = [await guest.info('A'), await guest.info('B')];
  const { protection } = primary;
  if (protection?.state !== 'protected') {
    throw new Error(
      `the guest is ${protection?.state ?? 'not protected'} after ${atMs.toFixed(0)} ms\n${guest.log('A')}`,
    );
  }
  const pids = {
    'kemari-dm': primary.dmPid,
    'its QEMU': primary.qemuPid,
    xc_kemari_restore: standby.dmPid,
    'the waiting QEMU': standby.qemuPid,
    'kemarid A': daemons.A,
    'kemarid B': daemons.B,
  };
  for (const [who, pid] of Object.entries(pids)) {
    if (pid === undefined) throw new Error(`${who} has ended`);
    watch.process(who, pid, atMs);
  }
  for (const host of HOST_NAMES) {
    const paths = hostPaths(guest.stage.root(host));
    watch.log(`the guest's log on ${host}`, logPath(paths, GUEST_NAME), atMs);
    watch.log(`kemarid's log on ${host}`, guest.daemonLogPath(host), atMs);
  }
  return protection;
}

/** As "+3.1 of at most 8 anonMib, from 61.2 to 64.0". */
export function growthText({ what, growth, limit, first, last }: Watched): string {
  return `${growth.toFixed(2)} of at most ${limit} ${what} more, from ${first.toFixed(1)} to ${last.toFixed(1)}`;
}

function progressText(atMs: number, durationMs: number, info: ProtectionInfo, answered: number): string {
  const { epoch, epochsPerSecond, pauseUs } = info;
  return (
    `${(atMs / 60_000).toFixed(1)} of ${(durationMs / 60_000).toFixed(1)} min: epoch ${epoch}, ` +
    `${epochsPerSecond.toFixed(0)} a second, pause p50 ${(pauseUs.p50 / 1000).toFixed(1)} ms, ` +
    `p99 ${(pauseUs.p99 / 1000).toFixed(1)} ms, ${answered} messages answered, load ${loadavg()[0]?.toFixed(1) ?? '?'}`
  );
}
