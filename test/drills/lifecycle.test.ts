import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { execa } from 'execa';
import { waitUntil } from '../../src/base/deadline.js';
import type { DomainInfo } from '../../src/host/contract.js';
import { hostPaths } from '../../src/host/paths.js';
import { qemuUid } from '../../src/hypervisor/qemu/privileges.js';
import type { DomainState } from '../../src/model/domain-state.js';
import { Guest, type GuestOptions } from '../fixtures/guest.js';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

/** Bounds a failure; what is waited for takes a fraction of it. */
const TIMEOUT_MS = 150_000;

/** How long a guest that is on its way down may leave one question unanswered. */
const ASK_TIMEOUT_MS = 5_000;

/** Has the guest's kernel panic, once its answer has left. */
const PANIC = '(sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &';

function withGuest(
  title: string,
  options: GuestOptions,
  body: (t: ExecutionContext, guest: Guest) => Promise<void>,
): void {
  guestTest(`${title}${missing}`, async (t) => {
    const guest = await Guest.boot(options);
    try {
      await body(t, guest);
    } finally {
      await guest.close();
    }
  });
}

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  if (!(await waitUntil(condition, { timeoutMs: TIMEOUT_MS }))) throw new Error(`not within ${TIMEOUT_MS} ms: ${what}`);
}

async function untilState(guest: Guest, state: DomainState): Promise<DomainInfo> {
  let info = await guest.info();
  await until(`state ${state}`, async () => (info = await guest.info()).state === state);
  return info;
}

async function untilGone(guest: Guest): Promise<void> {
  await until('no domain', async () => (await guest.kemari('list', '--json')) === '[]');
}

function exists(pid: number | undefined): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid ?? 'none'}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Which boot of the guest this is; another after each. */
async function bootId(guest: Guest, timeoutMs?: number): Promise<string> {
  return guest.mustRun('cat /proc/sys/kernel/random/boot_id', timeoutMs);
}

async function untilRebooted(guest: Guest, before: string): Promise<void> {
  await until(
    'another boot of the guest',
    async () => (await bootId(guest, ASK_TIMEOUT_MS).catch(() => before)) !== before,
  );
}

withGuest('a paused guest does nothing, and goes on when it is unpaused', {}, async (t, guest) => {
  await guest.kemari('pause', guest.name);
  t.is((await guest.info()).state, 'paused');
  const before = (await guest.info()).cpuSeconds;
  await t.throwsAsync(guest.fetch('/', 2_000));
  t.true((await guest.info()).cpuSeconds - before < 0.5);
  await guest.kemari('unpause', guest.name);
  t.is((await guest.info()).state, 'running');
  t.regex(await guest.fetch('/'), /served by a guest of kemari/);
});

withGuest('a guest that reboots stays the same domain with the same QEMU', {}, async (t, guest) => {
  const { domid, qemuPid } = await guest.info();
  const before = await bootId(guest);
  await guest.run('(sleep 0.2; reboot -f) >/dev/null 2>&1 &');
  await untilRebooted(guest, before);
  t.like(await guest.info(), { domid, qemuPid, state: 'running' });
});

withGuest('"kemari reboot" has the guest shut down and start again', {}, async (t, guest) => {
  const before = await bootId(guest);
  await guest.kemari('reboot', guest.name);
  await untilRebooted(guest, before);
  t.is((await guest.info()).state, 'running');
});

const ends = { on_poweroff: 'preserve', on_reboot: 'preserve', on_crash: 'preserve' };

withGuest('a guest that ended is kept for inspection where the file says so', { keys: ends }, async (t, guest) => {
  await guest.run('(sleep 0.2; reboot -f) >/dev/null 2>&1 &');
  const { qemuPid } = await untilState(guest, 'shutdown');
  t.true(exists(qemuPid));
  await t.throwsAsync(guest.kemari('unpause', guest.name), { message: /KEMARI_WRONG_STATE/ });
  await guest.kemari('destroy', guest.name);
  t.false(exists(qemuPid));
});

withGuest('a guest that panics is preserved as crashed', { keys: ends }, async (t, guest) => {
  await guest.run(PANIC);
  t.true(exists((await untilState(guest, 'crashed')).qemuPid));
});

withGuest(
  'a guest that panics starts anew with on_crash = "restart"',
  { keys: { on_crash: 'restart' } },
  async (t, guest) => {
    const { qemuPid } = await guest.info();
    const before = await bootId(guest);
    await guest.run(PANIC);
    await untilRebooted(guest, before);
    t.not((await guest.info()).qemuPid, qemuPid);
  },
);

withGuest('when QEMU is killed the domain ends and its log says why', {}, async (t, guest) => {
  const { qemuPid = 0, dmPid } = await guest.info();
  process.kill(qemuPid, 'SIGKILL');
  await untilGone(guest);
  await until('no kemari-dm', () => !exists(dmPid));
  t.regex(await guest.kemari('log', guest.name), /ended by itself: signal SIGKILL/);
});

withGuest(
  'a domain whose QEMU is killed gets another with on_crash = "restart"',
  { keys: { on_crash: 'restart' } },
  async (t, guest) => {
    const { qemuPid = 0, domid } = await guest.info();
    const before = await bootId(guest);
    process.kill(qemuPid, 'SIGKILL');
    await untilRebooted(guest, before);
    const after = await guest.info();
    t.like(after, { domid, state: 'running' });
    t.not(after.qemuPid, qemuPid);
  },
);

withGuest(
  'a domain whose QEMU is killed is kept, crashed, with on_crash = "preserve"',
  { keys: ends },
  async (t, guest) => {
    process.kill((await guest.info()).qemuPid ?? 0, 'SIGKILL');
    const info = await untilState(guest, 'crashed');
    t.is(info.qemuPid, undefined);
  },
);

withGuest(
  'when kemari-dm is killed its QEMU and taps go with it and the next command cleans up',
  {},
  async (t, guest) => {
    const { qemuPid, dmPid, vifs } = await guest.info();
    process.kill(dmPid, 'SIGKILL');
    await until('no QEMU', () => !exists(qemuPid));
    t.is(await guest.kemari('list', '--json'), '[]');
    t.deepEqual(readdirSync(hostPaths(guest.root).domains), []);
    const [program, ...rest] = guest.network.inside(['ls', '/sys/class/net']);
    const links = (await execa(program, rest)).stdout.split('\n');
    t.false(
      links.some((link) => vifs.some(({ tap }) => tap === link)),
      links.join(' '),
    );
  },
);

withGuest('QEMU is a user of its own without privileges and under seccomp', {}, async (t, guest) => {
  const { qemuPid, domid } = await guest.info();
  const status = readFileSync(`/proc/${qemuPid ?? 0}/status`, 'latin1');
  const uid = qemuUid(domid);
  t.regex(status, new RegExp(`^Uid:\\t${uid}\\t${uid}\\t${uid}\\t${uid}$`, 'm'));
  t.regex(status, /^CapBnd:\t0{16}$/m);
  t.regex(status, /^CapEff:\t0{16}$/m);
  t.regex(status, /^NoNewPrivs:\t1$/m);
  t.regex(status, /^Seccomp:\t2$/m);
});

guestTest(`a kernel and a ramdisk that only root may read reach the unprivileged QEMU${missing}`, async (t) => {
  const folder = mkdtempSync('/tmp/kemari-private-');
  try {
    const keys = { kernel: join(folder, 'vmlinuz'), ramdisk: join(folder, 'initrd') };
    for (const key of ['kernel', 'ramdisk'] as const) {
      copyFileSync(GUEST_IMAGE[key], keys[key]);
      chmodSync(keys[key], 0o600);
    }
    const guest = await Guest.boot({ boot: 'ramdisk', keys });
    t.is((await guest.info()).state, 'running');
    await guest.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
