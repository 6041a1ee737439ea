import { setTimeout as delay } from 'node:timers/promises';
import { DIRTY_LIMIT_PAGES } from '../../engine/policy.js';
import type { Capture } from '../../native/capture.js';
import type { LinkSender } from '../../native/link.js';

/** Memory's copying is done when so few pages are left: one epoch carries them in well under a millisecond's copying. */
export const COPIED_PAGES = 512;

/** A round that leaves more than this share of what the one before left does not shrink it any more. */
const SHRINKS_BELOW = 0.8;

/** Rounds without progress after which the rest is left to the first epoch, if it is no more than any epoch may carry. */
const STUCK_ROUNDS = 3;

/** Rounds in which a guest that writes more than that is waited for to write less for a moment; and rounds at all. */
export const PATIENT_ROUNDS = 6;
export const MAX_ROUNDS = 30;

const WATCH_INTERVAL_MS = 200;
const DRAIN_POLL_MS = 2;
const MS_PER_S = 1000;

/** How far copying has come. */
export interface CopyProgress {
  /** From 1. */
  readonly round: number;
  /** Of this round. */
  readonly pagesLeft: number;
  readonly bytesPerSecond: number;
  /** Undefined until a rate is known. */
  readonly secondsLeft: number | undefined;
}

export interface CopyReport {
  readonly rounds: number;
  readonly pages: number;
  readonly durationMs: number;
  /** Written since the last round: what the first epoch carries. */
  readonly pagesLeft: number;
}

/**
 * Copies the memory of a running guest in rounds, each with what the guest wrote during the one before, until one epoch
 * can carry the rest or the rest no longer shrinks. The guest stands still while its first epoch copies what is left: of one
 * that writes much, a moment is waited for in which that is no more than any epoch may carry.
 *
 * Errors: those of Capture.copyRound; `signal`'s reason.
 */
export async function copyMemory(
  capture: Pick<Capture, 'copyRound' | 'countDirty'>,
  link: Pick<LinkSender, 'stats'>,
  onProgress: (progress: CopyProgress) => void,
  signal: AbortSignal,
): Promise<CopyReport> {
  const startedAtMs = performance.now();
  let pagesLeft = await capture.countDirty();
  let pages = 0;
  let stuck = 0;
  let round = 0;
  const enough = (): boolean => {
    if (round === 0) return false;
    if (pagesLeft <= COPIED_PAGES || round === MAX_ROUNDS) return true;
    return stuck >= STUCK_ROUNDS && (pagesLeft <= DIRTY_LIMIT_PAGES || stuck >= STUCK_ROUNDS + PATIENT_ROUNDS);
  };
  while (!enough()) {
    signal.throwIfAborted();
    round++;
    const watching = watchRound(link, round, pagesLeft, onProgress);
    try {
      pages += (await capture.copyRound()).pages;
      await drained(link, signal);
    } finally {
      clearInterval(watching);
    }
    const before = pagesLeft;
    pagesLeft = await capture.countDirty();
    // Once it is stuck it stays so: what shrinks after that is a moment's rest.
    if (stuck >= STUCK_ROUNDS || pagesLeft > before * SHRINKS_BELOW) stuck += 1;
    else stuck = 0;
    report(link, round, pagesLeft, onProgress);
  }
  return { rounds: round, pages, durationMs: performance.now() - startedAtMs, pagesLeft };
}

/** What still waits to be sent would be in the way of the first epoch, while the guest's output is held. */
async function drained(link: Pick<LinkSender, 'stats'>, signal: AbortSignal): Promise<void> {
  while (link.stats().queuedBytes > 0) {
    signal.throwIfAborted();
    await delay(DRAIN_POLL_MS);
  }
}

function watchRound(
  link: Pick<LinkSender, 'stats'>,
  round: number,
  total: number,
  onProgress: (progress: CopyProgress) => void,
): NodeJS.Timeout {
  const sentBefore = link.stats().pagesSent;
  return setInterval(() => {
    report(link, round, Math.max(0, total - (link.stats().pagesSent - sentBefore)), onProgress);
  }, WATCH_INTERVAL_MS);
}

function report(
  link: Pick<LinkSender, 'stats'>,
  round: number,
  pagesLeft: number,
  onProgress: (progress: CopyProgress) => void,
): void {
  const { bytesPerSecond, pagesSent, sentBytes } = link.stats();
  // Zero pages and compressed ones travel in fewer bytes: the time left goes by what a page took so far.
  const bytesPerPage = pagesSent === 0 ? undefined : sentBytes / pagesSent;
  const known = bytesPerPage !== undefined && bytesPerSecond > 0;
  onProgress({
    round,
    pagesLeft,
    bytesPerSecond,
    secondsLeft: known ? Math.ceil(((pagesLeft * bytesPerPage) / bytesPerSecond) * MS_PER_S) / MS_PER_S : undefined,
  });
}
