import type { StandbyState } from './standby-state.js';

/**
 * Whether the end of the primary's process is the end of all its writes. A process that was killed leaves behind what it had
 * submitted: requests of io_uring, bytes in a socket, requests in an NBD server's queue. They may land after this side has
 * repeated them and written anew. The end of a process says nothing of them; only a fence that cuts its host off from storage
 * does. But what may be under way is known: a write is submitted only after this side has acknowledged an epoch that holds
 * it, and stays pending in each later one until storage has answered. So where the last epoch has no write pending, none is
 * under way. A write that failed because its connection was lost is pending no more and may land all the same: an epoch
 * says of each disk how many of those there were. (This side may have an epoch that it has not acknowledged: it holds what was submitted before, or its answer.)
 */
export function settled({ peer, writesPending }: StandbyState & { phase: 'silent' | 'fencing' }): boolean {
  return peer === 'dead' && !writesPending;
}

/** What an operator's log is told where nothing can make sure. */
export const MAY_LAND_LATE =
  'disk writes of the primary were under way when it died, and there is no fence: they may land late';
