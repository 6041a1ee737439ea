import { readFileSync } from 'node:fs';

/** A process that cannot be confused with a later one of the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: start of the process after boot, in clock ticks (proc(5)). */
  readonly startTicks: string;
  /** /proc/sys/kernel/random/boot_id: start ticks repeat after a reboot. */
  readonly bootId: string;
}

const START_TIME_FIELD = 22;
const STATE_FIELD = 3;
const FLAGS_FIELD = 9;
/** Linux's include/linux/sched.h: PF_EXITING. */
const EXITING = 0x4;
const THREAD_COUNT_FIELD = 20;

/** Field of /proc/PID/stat, counted from 1 as proc(5) does; undefined when there is no such process. */
function statField(pid: number, field: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field - 3];
  } catch {
    return undefined;
  }
}

/** undefined when the process does not run (any more). */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startTicks = statField(pid, START_TIME_FIELD);
  if (startTicks === undefined) return undefined;
  return { pid, startTicks, bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim() };
}

/** Whether that very process still exists; a zombie has ended once none of its threads is left. */
export function isRunning(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  if (now?.startTicks !== identity.startTicks || now.bootId !== identity.bootId) return false;
  return statField(identity.pid, STATE_FIELD) !== 'Z' || Number(statField(identity.pid, THREAD_COUNT_FIELD)) > 1;
}

/** Whether it is on its way out: it runs nothing of its own any more, and what it had is being given back. */
export function isEnding(identity: ProcessIdentity): boolean {
  return isRunning(identity) && (Number(statField(identity.pid, FLAGS_FIELD)) & EXITING) !== 0;
}

/** Sends SIGKILL if that very process still runs. Returns whether it was sent. */
export function killProcess(identity: ProcessIdentity): boolean {
  if (!isRunning(identity)) return false;
  try {
    return process.kill(identity.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
