/**
 * Guests that are not measured stand still, with all that serves them, so that they take no CPU. Their processes are
 * stopped as they are: a QMP stop would send every back-end through its stop and start each time, and those of
 * QEMU 7.2 do not survive that for long ("vu_panic: Error writing eventfd", disks that answer no more).
 */
export function freeze(processes: readonly number[]): void {
  for (const pid of processes) process.kill(pid, 'SIGSTOP');
}

/** Processes that have ended are passed over: what is taken down is thawed first, frozen or not. */
export function thaw(processes: readonly number[]): void {
  for (const pid of processes) {
    try {
      process.kill(pid, 'SIGCONT');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}
