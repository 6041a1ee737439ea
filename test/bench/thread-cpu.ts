import { readFileSync, readdirSync } from 'node:fs';

/** Names of QEMU's vCPU threads with `-name debug-threads=on`: `CPU 0/TCG`, `CPU 1/KVM`. */
const VCPU_THREAD = /^CPU \d+\//;

const NANOSECONDS_PER_MICROSECOND = 1000;

/**
 * CPU time in microseconds that the threads of these processes have used so far, without QEMU's vCPUs: what serving the
 * guest's requests costs the host beside the guest itself. Counted by the scheduler in nanoseconds
 * (Documentation/scheduler/sched-stats.rst), since a clock tick is longer than thousands of requests.
 */
export function servingCpuMicroseconds(pids: readonly number[]): number {
  let total = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) total += threadNanoseconds(`/proc/${pid}/task/${thread}`);
  }
  return total / NANOSECONDS_PER_MICROSECOND;
}

function threadNanoseconds(folder: string): number {
  try {
    if (VCPU_THREAD.test(readFileSync(`${folder}/comm`, 'utf8'))) return 0;
    return Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]);
  } catch (error) {
    // A worker thread that ended meanwhile takes its share along.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return 0;
    throw error;
  }
}
