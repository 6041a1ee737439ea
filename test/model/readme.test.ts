import { readFileSync } from 'node:fs';
import test from 'ava';
import { AGREED_KEYS, KNOWN_KEYS } from '../../src/model/xl-keys.js';

test('every key that a domain file may have is documented', (t) => {
  const text = readFileSync('src/model/README.md', 'utf8');
  const missing = [...KNOWN_KEYS, ...Object.keys(AGREED_KEYS)].filter((key) => !new RegExp(`\`${key}[\`=]`).test(text));
  t.deepEqual(missing, []);
});
