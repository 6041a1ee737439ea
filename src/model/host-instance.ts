/**
 * One process on one host, so that the question whether it still runs has one answer, for ever: the host by an id that it
 * keeps, the process by number and start. Whoever is asked and is not that host, or cannot see that process, says so.
 */
export interface HostInstance {
  /** Random, made once and kept in the host's state directory. */
  readonly hostId: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: string;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** The inode of /proc/self/ns/pid: process numbers mean something only within it. */
  readonly pidNamespace: string;
}
