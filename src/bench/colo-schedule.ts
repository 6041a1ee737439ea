import { readdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';

/** By the name that QEMU gives it (debug-threads=on). */
const SENDER = 'live_migration';
const SENDER_TIMEOUT_MS = 10_000;

/** Keeps a process, and what threads it starts, on one CPU. */
export async function pin(pid: number, cpu: number): Promise<void> {
  await execa('taskset', ['--all-tasks', '--cpu-list', '--pid', String(cpu), String(pid)]);
}

/**
 * Has the thread that sends checkpoints run only where no other of its QEMU wants the CPU, which is one for all of them (see
 * `pin`).
 *
 * Without KVM, QEMU 7.2 hangs otherwise, sooner or later: while it sends memory it waits for each vCPU to have run (run_on_cpu in
 * tcg_log_global_after_sync), which gives its big lock back meanwhile and takes it again; but COLO does not hold the lock there
 * (qemu_savevm_live_state). Once it had to wait it has the lock for good, and waits for itself at the next one. It never
 * has to where a vCPU that is woken runs at once.
 *
 * Errors: `KEMARI_BENCH_PROTECTION` when there is no such thread.
 */
export async function yieldWhenSending(pid: number): Promise<void> {
  let sender: string | undefined;
  const isThere = async (): Promise<boolean> => {
    sender = await threadNamed(pid, SENDER);
    return sender !== undefined;
  };
  if (!(await waitUntil(isThere, { timeoutMs: SENDER_TIMEOUT_MS })) || sender === undefined) {
    throw new KemariError(
      'KEMARI_BENCH_PROTECTION',
      `QEMU ${pid} has no thread ${SENDER} after ${SENDER_TIMEOUT_MS} ms`,
    );
  }
  await execa('chrt', ['--idle', '--pid', '0', sender]);
}

async function threadNamed(pid: number, name: string): Promise<string | undefined> {
  for (const tid of await readdir(`/proc/${pid}/task`)) {
    // One that has ended meanwhile has no name.
    const found = await readFile(`/proc/${pid}/task/${tid}/comm`, 'utf8').catch(() => '');
    if (found.trim() === name) return tid;
  }
  return undefined;
}
