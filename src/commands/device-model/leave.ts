import { asKemariError } from '../../base/errors.js';
import { wayOut } from '../../engine/way-out.js';
import type { Protection } from './protection.js';

/** A switchover may take so long before the standby is told to take over from what it has; less than any service manager waits. */
export const LEAVE_TIMEOUT_MS = 30_000;

/**
 * This process is to end: the guest goes on at its standby, if that can be had. Fulfilled with true once it runs there, or the
 * standby was told to take over, and the protection has ended; with false where the guest is this host's alone.
 *
 * `hurry`: from its abortion on nothing is waited for.
 */
export async function leave(protection: Protection, reason: string, hurry: AbortSignal): Promise<boolean> {
  for (;;) {
    const { state } = protection;
    switch (wayOut(state, !hurry.aborted)) {
      case 'hand-over':
        try {
          protection.input({ type: 'operator', verb: 'switchover' });
        } catch (error) {
          // It was refused: for the reason that is given, the standby is told instead.
          protection.input({ type: 'machine-died', reason: `${reason}; ${asKemariError(error).message}` });
        }
        break;
      case 'tell':
        protection.input({ type: 'machine-died', reason });
        break;
      case 'wait':
        await protection.until((now) => now !== state, hurry);
        break;
      case 'end': {
        const { phase } = state;
        if (phase !== 'handed-over' && phase !== 'ended') return false;
        await protection.ended;
        return true;
      }
    }
  }
}
