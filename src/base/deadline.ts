import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits for a condition that nothing announces (a lock of another process, a process's end): asks every `everyMs` until
 * it holds or `timeoutMs` have passed. Returns whether it held.
 */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  options: { readonly timeoutMs: number; readonly everyMs?: number },
): Promise<boolean> {
  const endsAtMs = performance.now() + options.timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= endsAtMs) return false;
    await delay(options.everyMs ?? POLL_INTERVAL_MS);
  }
}

const POLL_INTERVAL_MS = 20;
