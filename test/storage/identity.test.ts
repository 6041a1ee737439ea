import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KemariError } from '../../src/base/errors.js';
import type { DiskConfig } from '../../src/model/domain-config.js';
import { identifyDisks } from '../../src/storage/identity.js';
import { readMark, removeMark, writeMark } from '../../src/storage/mark.js';

function folder(t: ExecutionContext): string {
  const made = mkdtempSync(join(tmpdir(), 'kemari-test-'));
  t.teardown(() => {
    rmSync(made, { recursive: true, force: true });
  });
  return made;
}

function image(path: string): DiskConfig {
  writeFileSync(path, 'first');
  truncateSync(path, 1 << 20);
  return { vdev: 'xvda', target: { kind: 'path', path }, readOnly: false, discard: true, cache: 'none', queues: 1 };
}

const OWNER = { uuid: 'u', name: 'web', generation: 3, hostId: 'h', hostName: 'a' };

test('an image file is known by the mark beside it, by whoever reads it', async (t) => {
  const disk = image(join(folder(t), 'web.img'));
  const path = `${(disk.target as { path: string }).path}.kemari`;
  t.is((await identifyDisks([disk]))[0]?.identity, '');
  const { nonce } = writeMark(path, OWNER);
  const [found] = await identifyDisks([disk]);
  t.like(found, { vdev: 'xvda', kind: 'file', sizeBytes: 1 << 20, identity: nonce });
  t.is(found?.sample.length, 16);
  t.is(writeMark(path, { ...OWNER, generation: 4 }).nonce, nonce, 'a new owner keeps it');
  t.like(readMark(path), { ...OWNER, generation: 4 });
  removeMark(path);
  t.is(readMark(path), undefined);
});

test('a mark that was cut off is refused, not taken for none', (t) => {
  const path = join(folder(t), 'web.img.kemari');
  for (const text of ['', '{"version":1', '{}', '{"version":1,"uuid":"u"}', 'null']) {
    writeFileSync(path, text);
    const read = (): unknown => readMark(path);
    t.is(t.throws(read, { instanceOf: KemariError }).code, 'KEMARI_OWNERSHIP_UNREADABLE', text);
  }
  t.is(writeMark(path, OWNER).generation, 3, 'who answers for it may write a new one');
});

test('what the host caches is not for two hosts', async (t) => {
  const disk: DiskConfig = { ...image(join(folder(t), 'web.img')), cache: 'writeback' };
  t.is((await t.throwsAsync(identifyDisks([disk]), { instanceOf: KemariError })).code, 'KEMARI_DISK_CACHED');
});

test('a disk that is not there is named', async (t) => {
  const disk = image(join(folder(t), 'web.img'));
  const gone: DiskConfig = { ...disk, target: { kind: 'path', path: '/nonexistent/web.img' } };
  t.is((await t.throwsAsync(identifyDisks([gone]))).message.includes('/nonexistent/web.img'), true);
});
