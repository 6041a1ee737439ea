import { unreachable } from '../base/assert.js';
import type { PrimaryState } from './primary-state.js';

/**
 * What becomes of a guest whose process is to end here. `hand-over`: a planned switchover. `tell`: the standby is to take over
 * from its last epoch. `wait`: something is under way that decides it. `end`: nobody else has the guest, or may be told to.
 */
export type WayOut = 'hand-over' | 'tell' | 'wait' | 'end';

/** `inTime`: there is time left for a switchover, or for what is under way. */
export function wayOut(state: PrimaryState, inTime: boolean): WayOut {
  const waitElse = (late: 'tell' | 'end'): WayOut => (inTime ? 'wait' : late);
  switch (state.phase) {
    case 'unprotected':
    case 'copying':
    case 'handed-over':
    case 'ended':
      return 'end';
    case 'disarming':
      return waitElse('end');
    case 'protected': {
      // The first epoch is on its way: without it the standby has nothing to take over.
      if (state.core.ackedEpoch === 0n) return waitElse('end');
      return inTime ? 'hand-over' : 'tell';
    }
    case 'silent':
      if (state.core.ackedEpoch === 0n) return 'end';
      return state.linkUp ? waitElse('tell') : 'tell';
    case 'handing-over': {
      const wentOut = state.handover === 'go-sent' || state.handover === 'unknown';
      // `go` is out: the standby runs the guest or does not, whatever it is told now.
      return waitElse(wentOut ? 'end' : 'tell');
    }
    default:
      return unreachable(state);
  }
}
