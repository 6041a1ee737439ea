import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findQemu, isAtLeast, parseVersion } from '../../../src/hypervisor/qemu/binary.js';

/** A program that prints this for every argument. */
function fakeQemu(t: ExecutionContext, printed: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-binary-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 'qemu');
  writeFileSync(path, `#!/bin/sh\necho '${printed}'\n`);
  chmodSync(path, 0o755);
  return path;
}

test('the version is read from what QEMU prints', (t) => {
  t.is(parseVersion('QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n', 'q'), '7.2.22');
  t.is(parseVersion('QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n', 'q'), '10.0.2');
  t.throws(() => parseVersion('bash 5.2', 'q'), { code: 'KEMARI_HYPERVISOR_MISSING' });
});

test('versions are compared as numbers', (t) => {
  t.true(isAtLeast('7.2.22', [7, 2]));
  t.true(isAtLeast('10.0.2', [7, 2]));
  t.false(isAtLeast('7.1.99', [7, 2]));
  t.false(isAtLeast('6.2.0', [7, 2]));
});

test('a QEMU that is too old is refused by name', async (t) => {
  const binary = fakeQemu(t, 'QEMU emulator version 5.2.0 (Debian)');
  await t.throwsAsync(findQemu({ KEMARI_QEMU: binary }), {
    code: 'KEMARI_HYPERVISOR_TOO_OLD',
    message: /5\.2\.0.*7\.2/,
  });
});

test('folders of firmware become -L arguments in their order', async (t) => {
  const binary = fakeQemu(t, 'QEMU emulator version 10.0.2');
  t.deepEqual(await findQemu({ KEMARI_QEMU: binary, KEMARI_QEMU_DATA: '/a:/b' }), {
    command: [binary, '-L', '/a', '-L', '/b'],
    version: '10.0.2',
  });
});

test('a QEMU that is not there is named, with what to install', async (t) => {
  await t.throwsAsync(findQemu({ KEMARI_QEMU: '/nonexistent/qemu' }), {
    code: 'KEMARI_HYPERVISOR_MISSING',
    message: /\/nonexistent\/qemu.*install qemu-system-x86/,
  });
});
