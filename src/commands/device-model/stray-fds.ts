import { closeSync, readdirSync, readFileSync } from 'node:fs';

/** O_CLOEXEC in the octal `flags` of /proc/PID/fdinfo/N (Linux, all architectures kemari runs on). */
const O_CLOEXEC = 0o2000000;

/** Descriptors of this process that a program it starts would inherit, in ascending order. */
export function inheritableFds(): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc/self/fdinfo')) {
    const fd = Number(name);
    const flags = flagsOf(fd);
    if (flags !== undefined && (flags & O_CLOEXEC) === 0) found.push(fd);
  }
  return found.sort((a, b) => a - b);
}

/**
 * Closes what this process inherited beyond `keep` and beyond stdin, stdout and stderr: whoever started us may have left
 * something open, and an unprivileged QEMU is not to have it.
 */
export function closeStrayFds(keep: readonly number[]): void {
  for (const fd of inheritableFds()) {
    if (fd > 2 && !keep.includes(fd)) closeSync(fd);
  }
}

/** undefined when it was closed meanwhile, as the descriptor of the folder that was just listed. */
function flagsOf(fd: number): number | undefined {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags === undefined ? undefined : Number.parseInt(flags, 8);
  } catch {
    return undefined;
  }
}
