import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

/** A quoted code or variable, as code throws or reads it. */
const QUOTED = /["'`](KEMARI_[A-Z0-9_]*[A-Z0-9])["'`]/g;

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

function namesInCode(): Set<string> {
  const names = new Set<string>();
  for (const folder of ['src', 'addon']) {
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!/\.(?:ts|cc|h)$/.test(file)) continue;
      const text = withoutComments(readFileSync(join(folder, file), 'utf8'));
      for (const match of text.matchAll(QUOTED)) names.add(match[1]!);
    }
  }
  return names;
}

function namesInTable(): string[] {
  const rows = readFileSync('src/base/README.md', 'utf8').matchAll(/^\| `(KEMARI_[A-Z0-9_]+)` +\|/gm);
  return [...rows].map((match) => match[1]!);
}

test('every code and variable in src/ and addon/ is documented in src/base/README.md', (t) => {
  const documented = new Set(namesInTable());
  t.deepEqual(
    [...namesInCode()].filter((name) => !documented.has(name)),
    [],
  );
});

test('every documented code and variable exists, once', (t) => {
  const used = namesInCode();
  const documented = namesInTable();
  t.true(documented.length > 50);
  t.deepEqual(
    documented.filter((name) => !used.has(name)),
    [],
  );
  t.is(new Set(documented).size, documented.length);
});
