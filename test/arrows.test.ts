import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import test from 'ava';

/** Which rooms of src/ a room may import (README, "Layout and arrows"). Every room may import itself. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  cli: ['commands', 'model', 'base'],
  commands: [
    ...[
      'engine',
      'host',
      'hypervisor',
      'ring',
      'wire',
      'storage',
      'cluster',
      'bench',
      'stage',
      'native',
      'model',
      'base',
    ],
  ],
  engine: ['*/contract.ts', 'model', 'base'],
  host: ['native', 'model', 'base'],
  hypervisor: ['native', 'model', 'base'],
  ring: ['native', 'model', 'base'],
  wire: ['native', 'model', 'base'],
  storage: ['native', 'model', 'base'],
  cluster: ['native', 'model', 'base'],
  bench: ['stage', 'host', 'hypervisor', 'native', 'model', 'base'],
  stage: ['host', 'native', 'model', 'base'],
  native: ['base'],
  model: ['base'],
  base: [],
};

const IMPORT = /(?:\bfrom|\bimport\s*\(|\bimport)\s*['"]([^'"]+)['"]/g;

/** What a source file imports, as written. */
function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => match[1]!);
}

/** Why a file (`room/name.ts`, relative to src/) must not import this; undefined when it may. */
function forbidden(file: string, imported: string): string | undefined {
  const room = file.split(sep)[0]!;
  const allowed = ARROWS[room];
  if (allowed === undefined) return `${file}: room "${room}" has no arrows`;
  if (!imported.startsWith('.')) {
    // The engine is a pure step: clock, sockets and randomness are its inputs.
    return room === 'engine' ? `${file}: the engine imports ${imported}` : undefined;
  }
  const target = normalize(join(dirname(file), imported.replace(/\.js$/, '.ts')));
  const targetRoom = target.split(sep)[0]!;
  if (target.startsWith('..')) return `${file}: ${imported} lies outside src/`;
  if (targetRoom === room || allowed.includes(targetRoom)) return undefined;
  if (allowed.includes('*/contract.ts') && target === join(targetRoom, 'contract.ts')) return undefined;
  return `${file}: ${room} imports ${target}`;
}

const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

test('every import in src/ follows an arrow', (t) => {
  const broken = files.flatMap((file) =>
    importsOf(readFileSync(join('src', file), 'utf8')).flatMap((imported) => forbidden(file, imported) ?? []),
  );
  t.deepEqual(broken, []);
  t.true(files.length > 30);
});

test('only native/ opens the addon, and nothing in src/ imports a test', (t) => {
  const opening = files.filter((file) => /createRequire|\.node['"]/.test(readFileSync(join('src', file), 'utf8')));
  t.deepEqual(opening, [join('native', 'addon.ts')]);
});

test('the simulator has nothing of the product but the engine, which it tries, and base', (t) => {
  const room = join('test', 'sim');
  const imported = readdirSync(room)
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => importsOf(readFileSync(join(room, file), 'utf8')))
    .filter((path) => path.startsWith('../'));
  t.true(imported.length > 5);
  t.deepEqual(
    imported.filter((path) => !/^\.\.\/\.\.\/src\/(engine|base)\//.test(path)),
    [],
  );
});

test('a wrong arrow is seen', (t) => {
  t.deepEqual(importsOf(`import a from './a.js';\nexport * from "../b/c.js";\nawait import('node:fs');\nimport 'd';`), [
    './a.js',
    '../b/c.js',
    'node:fs',
    'd',
  ]);
  const wrong: readonly (readonly [file: string, imported: string])[] = [
    ['cli/kemari.ts', '../host/registry.js'],
    ['engine/primary.ts', '../hypervisor/qemu/qmp.js'],
    ['engine/primary.ts', 'node:timers'],
    ['hypervisor/qemu/machine.ts', '../../ring/disk.js'],
    ['model/epoch.ts', '../native/addon.js'],
    ['base/log.ts', '../model/epoch.js'],
    ['host/registry.ts', '../../test/host/testing.js'],
    ['attic/old.ts', './older.js'],
  ];
  for (const [file, imported] of wrong) t.not(forbidden(file, imported), undefined, `${file} -> ${imported}`);
  const right: readonly (readonly [file: string, imported: string])[] = [
    ['engine/primary.ts', '../hypervisor/contract.js'],
    ['engine/primary.ts', './states.js'],
    ['hypervisor/qemu/machine.ts', '../contract.js'],
    ['commands/create.ts', '../hypervisor/qemu/qemu.js'],
    ['cli/kemari.ts', 'yargs'],
  ];
  for (const [file, imported] of right) t.is(forbidden(file, imported), undefined, `${file} -> ${imported}`);
});
