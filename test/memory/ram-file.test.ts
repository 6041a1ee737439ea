import { closeSync, ftruncateSync } from 'node:fs';
import test from 'ava';
import { addon } from '../../src/native/addon.js';

test('guest memory that kemari made cannot shrink underneath its mappings', (t) => {
  const fd = addon.createRam('sealed', 1024 * 1024);
  t.throws(
    () => {
      ftruncateSync(fd, 4096);
    },
    { code: 'EPERM' },
  );
  closeSync(fd);
});
