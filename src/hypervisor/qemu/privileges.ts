/** Who QEMU runs as. */
export interface Privileges {
  readonly uid: number;
  /** Supplementary groups: the one that owns /dev/kvm, where it is needed. */
  readonly groups: readonly number[];
}

/**
 * First user id of those that QEMUs run as; each domain has its own, this one plus its domid. The range above it is in
 * nobody's hands (systemd's UIDS-GIDS: 1879048192-2147483647 is unused). Domid 0 is the probes'.
 */
export const QEMU_UID_BASE = 0x7000_0000;

export function qemuUid(domid: number): number {
  return QEMU_UID_BASE + domid;
}

/**
 * A command line that runs `command` with no privilege, no way to gain one, and a life that ends with ours (`parentPid`).
 * The death signal is armed only once setpriv runs; the shell therefore looks whether its parent is still the one it is to
 * die with, before it becomes `command`. Pure.
 */
export function unprivileged(privileges: Privileges, parentPid: number, command: readonly string[]): string[] {
  const groups = privileges.groups.length === 0 ? ['--clear-groups'] : ['--groups', privileges.groups.join(',')];
  return [
    ...['setpriv', '--reuid', String(privileges.uid), '--regid', String(privileges.uid), ...groups],
    ...['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--pdeathsig', 'KILL', '--'],
    ...['/bin/sh', '-c', '[ "$PPID" = "$0" ] && exec "$@"', String(parentPid), ...command],
  ];
}
