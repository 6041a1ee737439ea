import { setTimeout } from 'node:timers/promises';

const DEFAULT_DEADLINE_MS = 20_000;
const LOOK_EVERY_MS = 2;

/** Waits until `condition` holds; what it is about goes into the error when the deadline passes first. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = DEFAULT_DEADLINE_MS,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
    await setTimeout(LOOK_EVERY_MS);
  }
}
