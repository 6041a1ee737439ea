import type { NestedNode } from './nested-node.js';

/** A guest of a nested node, as `xl` has it. */
export interface XenGuest {
  readonly name: string;
  readonly vcpus?: number;
  /** Entries of `disk` and `vif` (xl-disk-configuration(5), xl-network-configuration(5)). */
  readonly disks?: readonly string[];
  readonly vifs?: readonly string[];
  /** More of its kernel's command line (hack/guest/start): its own root disk, for example; else it serves HTTP alone. */
  readonly cmdline?: string;
}

const MEMORY_MIB = 128;
const CREATE_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 600_000;

/**
 * Creates a PVH guest by dom0's own `xl`: Debian's kernel, its own services (hack/guest/start). Shadow page tables, since
 * the emulated processor has no nested ones. Returns its domid as soon as it runs.
 */
export async function createGuest(node: NestedNode, guest: XenGuest): Promise<number> {
  const list = (entries: readonly string[] = []): string => `[${entries.map((entry) => `'${entry}'`).join(', ')}]`;
  const config = [
    `name = '${guest.name}'`,
    "type = 'pvh'",
    'hap = 0',
    `memory = ${MEMORY_MIB}`,
    `vcpus = ${guest.vcpus ?? 1}`,
    "kernel = '/guest/vmlinuz'",
    "ramdisk = '/guest/initrd'",
    `extra = 'console=hvc0 mitigations=off quiet ${guest.cmdline ?? 'kemari.run=http'}'`,
    `disk = ${list(guest.disks)}`,
    `vif = ${list(guest.vifs)}`,
    "on_crash = 'preserve'",
  ].join('\n');
  await node.expect(
    `cat >/tmp/${guest.name}.cfg <<'END'\n${config}\nEND\nxl create /tmp/${guest.name}.cfg`,
    CREATE_TIMEOUT_MS,
  );
  return Number(await node.expect(`xl domid ${guest.name}`, CREATE_TIMEOUT_MS));
}

/** Waits until a guest's console has shown what this regular expression (egrep's) finds; throws with all it showed when it does not. */
export async function waitForGuestConsole(node: NestedNode, name: string, text: string): Promise<void> {
  const log = `/var/log/xen/guest-${name}.log`;
  const seconds = READY_TIMEOUT_MS / 1_000;
  await node.expect(
    `grep -aqE -m 1 '${text}' < <(timeout ${seconds} tail -n +1 --retry -f ${log} 2>/dev/null) || { cat ${log}; xl list; exit 1; }`,
    READY_TIMEOUT_MS + 10_000,
  );
}

/** What a guest prints when all that it starts is up. */
export const GUEST_READY = 'kemari-guest: ready after';

/** Types a line into the shell on a guest's console. */
export async function typeIntoGuest(node: NestedNode, name: string, line: string): Promise<void> {
  await node.expect(
    `tty=$(xenstore-read /local/domain/$(xl domid ${name})/console/tty) && printf '%s\\n' '${line}' >"$tty"`,
    CREATE_TIMEOUT_MS,
  );
}

/** What a guest says of itself, to tell whether it is the one that it was. */
export interface GuestWord {
  /** Of this boot of its kernel. */
  readonly bootId: string;
  /** Rises as long as the work of `keepGuestBusy` goes on. */
  readonly count: number;
  readonly uptimeSeconds: number;
}

/** Has it write memory of its own, start processes and wait for timers, from now on. */
export async function keepGuestBusy(node: NestedNode, name: string): Promise<void> {
  await typeIntoGuest(
    node,
    name,
    'n=0; while :; do n=$((n+1)); echo $n >/tmp/count; dd if=/dev/urandom of=/tmp/w bs=64k count=8 2>/dev/null; usleep 5000; done &',
  );
}

/** Asks the shell on a guest's console. `word` is one that it has not been asked with. */
export async function askGuest(node: NestedNode, name: string, word: string): Promise<GuestWord> {
  await typeIntoGuest(
    node,
    name,
    `echo ${word} $(cat /proc/sys/kernel/random/boot_id) $(cat /tmp/count) $(cat /proc/uptime) end`,
  );
  const answer = `${word} [0-9a-f-]{36} [0-9]+ [0-9.]+ [0-9.]+ end`;
  await waitForGuestConsole(node, name, answer);
  const line = await node.expect(`grep -aoE '${answer}' /var/log/xen/guest-${name}.log`, CREATE_TIMEOUT_MS);
  const [, bootId, count, uptime] = line.trim().split(' ');
  return { bootId: bootId!, count: Number(count), uptimeSeconds: Number(uptime) };
}
