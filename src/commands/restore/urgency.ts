import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { Logger } from 'pino';
import { messageOf } from '../../base/errors.js';

/** Nice values (setpriority(2)): while a takeover may come any moment, and once it is over. */
const URGENT = -10;
const ORDINARY = 0;

/**
 * Lets this process, and all that it starts from now on, run before what else wants the processor: nearly always it sleeps, and
 * when it does not, a guest stands still until it is done.
 */
export function becomeUrgent(logger: Logger): void {
  try {
    setPriority(process.pid, URGENT);
  } catch (error) {
    logger.debug({ event: 'priority', err: error }, messageOf(error));
  }
}

/** The opposite, for every thread of these processes: a guest that runs is one of several. */
export function becomeOrdinary(pids: readonly number[], logger: Logger): void {
  for (const pid of pids) {
    for (const thread of threadsOf(pid)) {
      try {
        setPriority(thread, ORDINARY);
      } catch (error) {
        // It has ended meanwhile; the others have not.
        logger.debug({ event: 'priority', err: error }, messageOf(error));
      }
    }
  }
}

/** None of a process that has ended. */
function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}
