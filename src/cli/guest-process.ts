import { writeSync } from 'node:fs';
import type { Termination } from '../commands/device-model.js';

/** Exit code after a mistake of our own (EX_SOFTWARE of sysexits.h). */
const EXIT_INTERNAL = 70;

/** pino's number for `fatal`. */
const LEVEL_FATAL = 60;

const STDERR_FD = 2;

/** What every process that owns a QEMU does at its start. The first SIGTERM or SIGINT asks it to end, the second insists. */
export function guestProcess(): Termination {
  const asked = new AbortController();
  const insisted = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      (asked.signal.aborted ? insisted : asked).abort(new Error(`${signal} received`));
    });
  }
  // QEMU dies with this process (its parent-death signal), so that nothing runs on what can no longer be trusted.
  process.on('uncaughtException', (error) => {
    const record = { level: LEVEL_FATAL, time: new Date().toISOString(), event: 'internal-error', msg: error.stack };
    writeSync(STDERR_FD, `${JSON.stringify(record)}\n`);
    process.exit(EXIT_INTERNAL);
  });
  return { asked: asked.signal, insisted: insisted.signal };
}
