import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { readRecord, writeRecord } from '../../src/host/domain-record.js';
import { tryLockFile, unlock } from '../../src/host/lock-file.js';
import { domainPaths, hostPaths, SOCKET_PATH_LIMIT_BYTES } from '../../src/host/paths.js';
import { identifyProcess, isRunning, killProcess } from '../../src/host/process-identity.js';
import { Registry } from '../../src/host/registry.js';
import { configOf, temporaryHost } from './testing.js';

test('domids count up and are not reused soon', async (t) => {
  const registry = temporaryHost(t);
  const one = await registry.register(configOf('one'));
  const two = await registry.register(configOf('two'));
  registry.remove(two);
  const three = await registry.register(configOf('three'));
  t.deepEqual([one.domid, two.domid, three.domid], [1, 2, 3]);
  t.deepEqual(
    (await registry.list()).map(({ name }) => name),
    ['one', 'three'],
  );
});

test('domids start over after the last one and pass over those that are taken', async (t) => {
  const registry = temporaryHost(t);
  await registry.register(configOf('one'));
  writeFileSync(registry.host.nextDomid, String(0x7fef));
  t.is((await registry.register(configOf('last'))).domid, 0x7fef);
  t.is((await registry.register(configOf('next'))).domid, 2);
});

test('a damaged counter of domids is no obstacle', async (t) => {
  const registry = temporaryHost(t);
  writeFileSync(registry.host.nextDomid, 'rubbish');
  t.is((await registry.register(configOf('one'))).domid, 1);
});

test('many that register at once get domids of their own', async (t) => {
  const registry = temporaryHost(t);
  const names = Array.from({ length: 12 }, (_, index) => `many${index}`);
  const made = await Promise.all(names.map((name) => registry.register(configOf(name))));
  t.is(new Set(made.map(({ domid }) => domid)).size, names.length);
});

test('a domain is found by name and by domid, and who is not found is told what there is', async (t) => {
  const registry = temporaryHost(t);
  await registry.register(configOf('one'));
  await registry.register(configOf('two'));
  t.is((await registry.find('two')).domid, 2);
  t.is((await registry.find('1')).name, 'one');
  const error = await t.throwsAsync(registry.find('three'), { instanceOf: KemariError });
  t.is(error.code, 'KEMARI_NO_SUCH_DOMAIN');
  t.regex(error.message, /"three".*one \(1\), two \(2\)/);
});

test('what a killed kemari-dm left behind is removed, and its QEMU is ended', async (t) => {
  const registry = temporaryHost(t);
  const domain = await registry.register(configOf('left'));
  const qemu = fork(new URL('./sleeper.js', import.meta.url), { detached: true, stdio: 'ignore' });
  const ended = once(qemu, 'exit');
  writeRecord(domain.paths, { ...readRecord(domain.paths), qemu: identifyProcess(qemu.pid!)! });
  t.is((await registry.list()).length, 1);
  unlock(domain.lock);
  t.deepEqual(await registry.list(), []);
  t.deepEqual(await ended, [null, 'SIGKILL']);
  t.deepEqual(readdirSync(registry.host.domains), []);
});

test('a process that only has the number of the recorded one is left alone', async (t) => {
  const registry = temporaryHost(t);
  const domain = await registry.register(configOf('reused'));
  const sleeper = fork(new URL('./sleeper.js', import.meta.url), { detached: true, stdio: 'ignore' });
  const real = identifyProcess(sleeper.pid!)!;
  writeRecord(domain.paths, { ...readRecord(domain.paths), qemu: { ...real, startTicks: '1' } });
  unlock(domain.lock);
  t.deepEqual(await registry.list(), []);
  t.true(isRunning(real));
  t.true(killProcess(real));
  await once(sleeper, 'exit');
  t.false(isRunning(real));
  t.false(killProcess(real));
});

test('a record that was cut off does not keep a dead domain alive', async (t) => {
  const registry = temporaryHost(t);
  const domain = await registry.register(configOf('cut'));
  writeFileSync(domain.paths.record, '{"name":');
  await t.throwsAsync(registry.list(), { code: 'KEMARI_RECORD_UNREADABLE' });
  unlock(domain.lock);
  t.deepEqual(await registry.list(), []);
});

test('a registration that was killed halfway is no obstacle', async (t) => {
  const registry = temporaryHost(t);
  mkdirSync(join(registry.host.domains, '.new'));
  writeFileSync(join(registry.host.domains, '.new', 'lock'), '');
  t.is((await registry.register(configOf('one'))).domid, 1);
});

test('two domains do not share a name, a UUID, a MAC or the name of a tap', async (t) => {
  const registry = temporaryHost(t);
  const mac = `vif=['mac=00:16:3e:00:00:07,vifname=tap7']`;
  const one = configOf('one', mac);
  await registry.register(one);
  await t.throwsAsync(registry.register(configOf('one')), { code: 'KEMARI_NAME_IN_USE' });
  await t.throwsAsync(registry.register({ ...configOf('two'), uuid: one.uuid }), { code: 'KEMARI_UUID_IN_USE' });
  await t.throwsAsync(registry.register(configOf('three', mac)), { code: 'KEMARI_MAC_IN_USE' });
  const tap = configOf('four', `vif=['vifname=tap7']`);
  await t.throwsAsync(registry.register(tap), { code: 'KEMARI_VIFNAME_IN_USE' });
  t.is((await registry.list()).length, 1);
});

test('a disk that another domain uses is refused under any of its names, unless both only read', async (t) => {
  const registry = temporaryHost(t);
  const image = join(registry.host.root, 'image');
  const alias = join(registry.host.root, 'alias');
  writeFileSync(image, 'x');
  symlinkSync(image, alias);
  const writer = await registry.register(configOf('writer', `disk=['${image},,xvda']`));
  for (const spec of [`${alias},,xvdb`, `${image},,xvda,ro`]) {
    const error = await t.throwsAsync(registry.register(configOf('other', `disk=['${spec}']`)), {
      instanceOf: KemariError,
    });
    t.is(error.code, 'KEMARI_DISK_IN_USE');
    t.regex(error.message, /writer.*domid 1.*writable/);
  }
  registry.remove(writer);
  await registry.register(configOf('reader', `disk=['${image},,xvda,ro']`));
  await registry.register(configOf('reader2', `disk=['${alias},,xvda,ro']`));
  await t.throwsAsync(registry.register(configOf('other', `disk=['${image},,xvda']`)), { code: 'KEMARI_DISK_IN_USE' });
});

test('one domain does not have one disk twice', async (t) => {
  const registry = temporaryHost(t);
  const image = join(registry.host.root, 'image');
  writeFileSync(image, 'x');
  const twice = configOf('twice', `disk=['${image},,xvda','${image},,xvdb,ro']`);
  await t.throwsAsync(registry.register(twice), { code: 'KEMARI_DISK_IN_USE' });
});

test('the same NBD export is the same disk', async (t) => {
  const registry = temporaryHost(t);
  await registry.register(configOf('one', `disk=['nbd://h/e,,xvda']`));
  await t.throwsAsync(registry.register(configOf('two', `disk=['nbd://h/e,,xvda']`)), { code: 'KEMARI_DISK_IN_USE' });
  await registry.register(configOf('three', `disk=['nbd://h/f,,xvda']`));
  t.is((await registry.list()).length, 2);
});

test('a root that is too long for a socket is refused with the length that fits', (t) => {
  const room = SOCKET_PATH_LIMIT_BYTES - '/domains/32751/console.sock'.length;
  const fits = `/${'r'.repeat(room - 1)}`;
  t.is(Buffer.byteLength(domainPaths(hostPaths(fits), 0x7fef).consoleSocket), SOCKET_PATH_LIMIT_BYTES);
  const error = t.throws(() => new Registry(`${fits}r`), { instanceOf: KemariError });
  t.is(error.code, 'KEMARI_ROOT_TOO_LONG');
  t.regex(error.message, new RegExp(`has ${room + 1} bytes; at most ${room} `));
});

test('a root that cannot be made is refused', (t) => {
  t.throws(() => new Registry('/proc/kemari'), { code: 'KEMARI_ROOT_UNUSABLE' });
});

test('a lock on a file that was replaced meanwhile does not count', (t) => {
  const registry = temporaryHost(t);
  const path = join(registry.host.root, 'lockfile');
  t.is(tryLockFile(path, { create: false }), undefined);
  const held = tryLockFile(path, { create: true });
  t.truthy(held);
  t.is(tryLockFile(path, { create: true }), undefined);
  unlock(held!);
  t.true(existsSync(path));
  const again = tryLockFile(path, { create: false });
  t.truthy(again);
  unlock(again!);
});
