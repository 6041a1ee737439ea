import { readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { addon } from '../../native/addon.js';
import { KemariError, messageOf } from '../../base/errors.js';
import type { QemuBinary } from './binary.js';
import { cpuModel } from './machine-arguments.js';
import { qemuUid, type Privileges } from './privileges.js';
import { PROBE_EXIT_PORT, PROBE_PASSED_EXIT_CODE, probeGuest } from './probe-guest.js';
import { InheritedFds, spawnQemu } from './spawn.js';

/** Whether KVM runs guests here, and for people: why not. */
export type KvmFinding = { readonly usable: true } | { readonly usable: false; readonly reason: string };

/** How a process without privileges gets at /dev/kvm: which supplementary groups it needs. */
export type KvmAccess = { readonly groups: readonly number[] } | { readonly denied: string };

const KVM_DEVICE = '/dev/kvm';

/** The probe's guest ends in some 0.2 s where KVM works; where it does not it may hang. */
export const PROBE_TIMEOUT_MS = 10_000;

/** QEMU prints this when a vCPU cannot go on, and then stands still (accel/kvm/kvm-all.c). */
const KVM_GAVE_UP = 'KVM internal error';

/** Read and write, for a group and for everyone. */
const GROUP_READ_WRITE = 0o060;
const OTHERS_READ_WRITE = 0o006;

export function kvmAccess(path = KVM_DEVICE): KvmAccess {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return { denied: `there is no ${path}` };
  if ((status.mode & OTHERS_READ_WRITE) === OTHERS_READ_WRITE) return { groups: [] };
  // Group 0 would give an unprivileged QEMU what else is open to root's group.
  if ((status.mode & GROUP_READ_WRITE) === GROUP_READ_WRITE && status.gid !== 0) return { groups: [status.gid] };
  const mode = (status.mode & 0o777).toString(8);
  return {
    denied: `${path} (mode ${mode}, gid ${status.gid}) is open to root only; QEMU runs unprivileged: chgrp and chmod it`,
  };
}

/**
 * Whether a guest really runs under KVM with the CPU model that domains get by default. What was found is kept in
 * `cacheDirectory` for this boot of the host and this QEMU.
 */
export async function probeKvm(qemu: QemuBinary, cacheDirectory: string): Promise<KvmFinding> {
  const access = kvmAccess();
  if ('denied' in access) return { usable: false, reason: access.denied };
  const key = `${bootId()} ${qemu.command.join(' ')} ${qemu.version}`;
  const path = join(cacheDirectory, 'kvm-probe.json');
  const known = readCached(path, key);
  if (known !== undefined) return known;
  const finding = await runProbeGuest(qemu, 'kvm', { uid: qemuUid(0), groups: access.groups });
  writeFileSync(path, JSON.stringify({ key, finding }), { mode: 0o600 });
  return finding;
}

/** Runs the probe's guest once. The finding says how it ended. */
export async function runProbeGuest(
  qemu: QemuBinary,
  accel: 'kvm' | 'tcg',
  privileges: Privileges,
  timeoutMs = PROBE_TIMEOUT_MS,
): Promise<KvmFinding> {
  const image = probeGuest();
  const fds = new InheritedFds();
  const lines: string[] = [];
  try {
    const fd = addon.createRam('kemari-probe', image.length);
    const command = [...qemu.command, ...probeArguments(accel, fds.give(fd))];
    writeSync(fd, image, 0, image.length, 0);
    const process = await spawnQemu({
      command,
      privileges,
      fds,
      onOutput: (line) => {
        lines.push(line);
        if (line.includes(KVM_GAVE_UP)) process.child.kill('SIGKILL');
      },
    });
    const timer = setTimeout(() => process.child.kill('SIGKILL'), timeoutMs);
    const exit = await process.exited;
    clearTimeout(timer);
    if (exit.code === PROBE_PASSED_EXIT_CODE) return { usable: true };
    const how = exit.signal === null ? `exit code ${exit.code ?? 'unknown'}` : 'it was ended';
    return {
      usable: false,
      reason: `a test guest did not run (${how}): ${lines.slice(0, 3).join('; ') || 'no message'}`,
    };
  } catch (error) {
    throw new KemariError('KEMARI_HYPERVISOR_PROBE', `cannot run the test guest: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    fds.closeOurs();
  }
}

/** Memory of the probe's guest: it uses what lies below 3 MiB, its firmware a little more. */
const PROBE_MEMORY_MIB = 32;

function probeArguments(accel: 'kvm' | 'tcg', kernel: number): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-machine', 'q35', '-accel', accel],
    ...['-cpu', cpuModel('default', accel), '-m', String(PROBE_MEMORY_MIB)],
    ...['-device', `isa-debug-exit,iobase=${PROBE_EXIT_PORT},iosize=1`, '-kernel', `/proc/self/fd/${kernel}`],
  ];
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** A cache that cannot be read is one that is not there. */
function readCached(path: string, key: string): KvmFinding | undefined {
  try {
    const cached = JSON.parse(readFileSync(path, 'utf8')) as { key?: unknown; finding?: KvmFinding };
    return cached.key === key ? cached.finding : undefined;
  } catch {
    return undefined;
  }
}
