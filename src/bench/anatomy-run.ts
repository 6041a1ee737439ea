import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '../base/deadline.js';
import { KemariError, messageOf } from '../base/errors.js';
import { availableMemory } from '../host/available-memory.js';
import { chromeTrace } from '../host/chrome-trace.js';
import type { EpochRecord } from '../host/epoch-record.js';
import { DEMO_IMAGE } from '../stage/demo-image.js';
import { GUEST_NAME, StagedGuest } from '../stage/staged-guest.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import {
  anatomyGuests,
  guestTitle,
  pointTitle,
  type AnatomyReach,
  type AnatomyGuest,
  type AnatomyPoint,
} from './anatomy-points.js';
import { medianParts, pauseOf } from './epoch-figures.js';
import type { AnatomySample, Ledger } from './ledger.js';
import { onStage } from './on-stage.js';
import { Progress } from './progress.js';
import { median, quantile } from './statistics.js';
import { EXTRA_MS } from './workload.js';

export interface AnatomyOptions {
  /** How often each guest is measured. */
  readonly sweeps: number;
  /** Of each point. */
  readonly seconds: number;
  readonly most: AnatomyReach;
  /** Where traces are kept. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

const MACHINE = 'pc';
/** A guest that sends nothing has epochs so often, where pacing lets it. */
const MAX_AGE_MS = 50;
/**
 * Of the guest's time, percent that epochs may take: with more of it they come so often that a guest of an emulated processor does not
 * get to write tens of thousands of pages in between.
 */
const MAX_PAUSE_SHARE = 3;
/** What a guest writes has become what it writes over and over. */
const SETTLE_MS = 2000;
const APPLY_LOOK_MS = 200;
const MIB = 1 << 20;
/** Two hosts hold the guest; what each takes beside it, with this program. */
const BESIDE_BYTES = 1 << 30;
/** Of a guest's memory, that is not filled: its own, and room for what it writes. */
const UNFILLED_MIB = 512;
/** Each MiB that is filled; bounds a failure. */
const FILL_MS = 150;
const DIRTIED = '/dev/shm/dirtied';
/** Of large ones there are few: they are waited for. */
const LEAST_EPOCHS = 5;
const LEAST_EPOCHS_TIMEOUT_MS = 240_000;

/**
 * Takes epochs of guests apart, as far as the ledger lacks them: of each size, number of vCPUs and number of written pages. What
 * does not fit into this machine's memory is in the ledger, too, with its reason. Returns at once when aborted.
 */
export async function runAnatomy(ledger: Ledger, options: AnatomyOptions): Promise<void> {
  const turns = Array.from({ length: options.sweeps }, (_, repeat) =>
    anatomyGuests(options.most).map((guest) => {
      const pages = guest.pages.filter((count) => !ledger.hasAnatomy({ ...guest, pages: count }, repeat));
      return { repeat, guest: { ...guest, pages } };
    }),
  )
    .flat()
    .filter(({ guest }) => guest.pages.length > 0);
  const progress = new Progress(turns.reduce((sum, { guest }) => sum + guest.pages.length, 0));
  for (const { repeat, guest } of turns) {
    if (options.signal.aborted) return;
    const measured = new Set<number>();
    try {
      checkRoom(guest);
      await onStage(options.signal, (stage) =>
        measureGuest(stage, guest, options, progress, (sample) => {
          ledger.add({ type: 'anatomy', repeat, ...sample });
          measured.add(sample.pages);
        }),
      );
    } catch (error) {
      if (isAborted(options.signal)) return;
      const failure = messageOf(error);
      progress.say(`skipped: ${failure}`);
      for (const pages of guest.pages.filter((count) => !measured.has(count))) {
        ledger.add({ type: 'anatomy', repeat, ...guest, pages, failure });
      }
    }
  }
}

function isAborted({ aborted }: AbortSignal): boolean {
  return aborted;
}

function checkRoom({ memoryMib, vcpus }: AnatomyGuest): void {
  const needed = 2 * memoryMib * MIB + BESIDE_BYTES;
  const available = availableMemory();
  if (available >= needed) return;
  throw new KemariError(
    'KEMARI_BENCH_MEMORY',
    `${guestTitle({ memoryMib, vcpus })}: both hosts hold it on this machine, ` +
      `which takes ${Math.ceil(needed / MIB)} MiB, and ${Math.floor(available / MIB)} MiB are left`,
  );
}

type Measured = Omit<AnatomySample, 'type' | 'repeat'>;

async function measureGuest(
  stage: TwoHosts,
  { memoryMib, vcpus, pages: counts }: AnatomyGuest,
  { seconds, folder, signal }: AnatomyOptions,
  progress: Progress,
  tell: (sample: Measured) => void,
): Promise<void> {
  progress.say(`${guestTitle({ memoryMib, vcpus })} boots`);
  const guest = await StagedGuest.boot(stage, {
    image: DEMO_IMAGE,
    machine: MACHINE,
    services: 'http',
    memoryMib,
    vcpus,
  });
  await guest.startDaemon('B');
  await fill(guest, memoryMib - UNFILLED_MIB);
  await guest.protect('A', '--max-age', String(MAX_AGE_MS), '--max-pause-share', String(MAX_PAUSE_SHARE));
  for (const pages of counts) {
    if (isAborted(signal)) return;
    const point = { memoryMib, vcpus, pages };
    progress.step(pointTitle(point));
    tell(await measurePoint(guest, point, seconds, folder));
  }
  await guest.kemari('A', 'unprotect', GUEST_NAME);
}

/** Memory that a guest never wrote to is in no page table, and nothing to look through. */
async function fill(guest: StagedGuest, mib: number): Promise<void> {
  if (mib <= 0) return;
  const room = 'mount -o remount,size=100% /dev/shm';
  const dd = `dd if=/dev/zero of=/dev/shm/filled bs=1M count=${mib} 2>/dev/null`;
  await guest.run(`${room} && ${dd}`, EXTRA_MS + mib * FILL_MS);
}

async function measurePoint(
  guest: StagedGuest,
  point: AnatomyPoint,
  seconds: number,
  folder: string,
): Promise<Measured> {
  const { memoryMib, vcpus, pages } = point;
  if (pages > 0) await guest.run(writeOverAndOver(pages), EXTRA_MS);
  try {
    await delay(SETTLE_MS);
    const fromMs = Date.now();
    const applyUs = await watchApply(guest, seconds * 1000);
    let records: readonly EpochRecord[] = [];
    const enough = async (): Promise<boolean> => {
      records = (await guest.trace('A')).filter(({ orderedAtMs }) => orderedAtMs >= fromMs);
      return records.length >= LEAST_EPOCHS;
    };
    if (!(await waitUntil(enough, { timeoutMs: LEAST_EPOCHS_TIMEOUT_MS, everyMs: APPLY_LOOK_MS }))) {
      throw new KemariError('KEMARI_BENCH_PROTECTION', `${pointTitle(point)}: only ${records.length} epochs`);
    }
    const trace = `trace-${memoryMib}mib-${vcpus}vcpu-${pages}pages.json`;
    await writeFile(join(folder, trace), `${JSON.stringify(chromeTrace(pointTitle(point), records))}\n`);
    return { ...point, ...figuresOf(records, applyUs), trace };
  } finally {
    if (pages > 0) await stopWriting(guest);
  }
}

/**
 * Every page of a file in memory, one after the other, again and again, each time a little different (fio's scramble_buffers). Ends
 * when all of them were written once: fio takes its time to begin.
 */
function writeOverAndOver(pages: number): string {
  const layOut = `dd if=/dev/zero of=${DIRTIED} bs=4k count=${pages} 2>/dev/null`;
  const fio =
    `fio --name=dirty --filename=${DIRTIED} --size=${pages * 4}k --rw=write --bs=4k --ioengine=mmap ` +
    '--overwrite=1 --time_based --runtime=3600';
  const untilWritten = `until ! tail -c 4096 ${DIRTIED} | cmp -s -n 4096 - /dev/zero; do usleep 20000; done`;
  return `${layOut}; setsid ${fio} </dev/null >/dev/null 2>&1 & ${untilWritten}`;
}

/** A guest whose epochs take seconds may answer nobody in time: it is asked again. */
async function stopWriting(guest: StagedGuest): Promise<void> {
  let failure: unknown;
  const isStopped = async (): Promise<boolean> => {
    try {
      await guest.run(`killall fio; rm -f ${DIRTIED}`, EXTRA_MS);
      return true;
    } catch (error) {
      failure = error;
      return false;
    }
  };
  if (await waitUntil(isStopped, { timeoutMs: EXTRA_MS })) return;
  throw new KemariError('KEMARI_BENCH_GUEST', `fio does not end: ${messageOf(failure)}`, { cause: failure });
}

/** What the standby's last epoch took to apply, seen now and then. */
async function watchApply(guest: StagedGuest, forMs: number): Promise<number[]> {
  const seen = new Map<number, number>();
  const untilMs = performance.now() + forMs;
  while (performance.now() < untilMs) {
    await delay(APPLY_LOOK_MS);
    const { standby } = await guest.info('B');
    if (standby !== undefined) seen.set(standby.epoch, standby.applyUs);
  }
  return [...seen.values()];
}

function figuresOf(records: readonly EpochRecord[], applyUs: readonly number[]): Omit<Measured, keyof AnatomyPoint> {
  const pausesUs = records.map(pauseOf);
  return {
    epochs: records.length,
    dirtyPages: median(records.map(({ dirtyPages }) => dirtyPages)),
    pauseP50Us: quantile(pausesUs, 0.5),
    pauseP99Us: quantile(pausesUs, 0.99),
    parts: { ...medianParts(records), ...(applyUs.length === 0 ? {} : { apply: median(applyUs) }) },
  };
}
