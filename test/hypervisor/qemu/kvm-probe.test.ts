import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findQemu } from '../../../src/hypervisor/qemu/binary.js';
import { kvmAccess, probeKvm, runProbeGuest } from '../../../src/hypervisor/qemu/kvm-probe.js';
import { qemuUid } from '../../../src/hypervisor/qemu/privileges.js';
import { probeGuest } from '../../../src/hypervisor/qemu/probe-guest.js';

const rootTest = process.getuid?.() === 0 ? test : test.skip;
const nobody = { uid: qemuUid(0), groups: [] };

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kemari-probe-'));
  t.teardown(() => {
    rmSync(path, { recursive: true });
  });
  return path;
}

/** A file that stands for /dev/kvm. */
function device(t: ExecutionContext, mode: number, gid: number): string {
  const path = join(folder(t), 'kvm');
  writeFileSync(path, '');
  chownSync(path, 0, gid);
  chmodSync(path, mode);
  return path;
}

rootTest('the probe guest enters long mode, uses SSE and reports it where a processor can', async (t) => {
  t.is(probeGuest().length, 184);
  t.deepEqual(await runProbeGuest(await findQemu(process.env), 'tcg', nobody, 60_000), { usable: true });
});

rootTest('a guest that does not report in time is not usable, and is ended', async (t) => {
  const finding = await runProbeGuest(await findQemu(process.env), 'tcg', nobody, 0);
  t.false(finding.usable);
});

rootTest("the group of /dev/kvm is taken along where it is needed, but never root's", (t) => {
  t.deepEqual(kvmAccess(device(t, 0o666, 0)), { groups: [] });
  t.deepEqual(kvmAccess(device(t, 0o660, 104)), { groups: [104] });
  t.true('denied' in kvmAccess(device(t, 0o660, 0)));
  t.true('denied' in kvmAccess(device(t, 0o600, 104)));
  t.deepEqual(kvmAccess('/nonexistent/kvm'), { denied: 'there is no /nonexistent/kvm' });
});

rootTest(
  'KVM is used only after a guest ran under it; what was found is kept for this boot and this QEMU',
  async (t) => {
    const cache = folder(t);
    const qemu = await findQemu(process.env);
    const found = await probeKvm(qemu, cache);
    t.log(found);
    if ('denied' in kvmAccess()) {
      t.false(found.usable);
      return;
    }
    const path = join(cache, 'kvm-probe.json');
    const kept = JSON.parse(readFileSync(path, 'utf8')) as { key: string };
    t.deepEqual(kept, { key: kept.key, finding: found });
    const marked = { usable: false, reason: 'from the file' };
    writeFileSync(path, JSON.stringify({ key: kept.key, finding: marked }));
    t.deepEqual(await probeKvm(qemu, cache), marked);
    t.deepEqual(await probeKvm({ ...qemu, version: `${qemu.version}.1` }, cache), found);
  },
);
