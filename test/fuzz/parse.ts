import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Chance, mutate } from './mutate.js';
import type { ParserTarget } from './parser-target.js';

/**
 * Fuzzes one parser of TypeScript's: `parse.js TARGET [--seconds N] [--runs N] [--seed S] [--found FOLDER] [FILE...]`.
 * There is no instrumentation; an input whose outcome, names and numbers apart, was never seen is kept and mutated
 * further. FILEs are tried alone: what a finding left is tried again that way. test/fuzz/corpus/TARGET goes in as well.
 */
const KEPT_LIMIT = 4096;
const CHECK_EVERY = 256;
/** Of an outcome: more would tell every combination of faults apart. */
const SHAPE_LETTERS = 80;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    runs: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    found: { type: 'string', default: '.' },
  },
});
const [name = '', ...files] = positionals;
const { target } = (await import(`./parsers/${name}.js`)) as { target: ParserTarget };
if (files.length > 0) for (const file of files) target.tryOne(readFileSync(file));
else run();

function run(): void {
  const chance = new Chance(Number(values.seed));
  const words = target.words.map((word) => Buffer.from(word));
  const kept: Buffer[] = [];
  const outcomes = new Set<string>();
  const tryOne = (input: Buffer): void => {
    const outcome = shapeOf(attempt(input));
    if (outcomes.has(outcome) || kept.length >= KEPT_LIMIT) return;
    outcomes.add(outcome);
    kept.push(input);
  };
  const seeds = [...target.seeds.map((seed) => Buffer.from(seed, 'latin1')), ...corpus()];
  for (const seed of seeds) tryOne(seed);
  kept.push(...seeds);
  const startMs = performance.now();
  const endMs = startMs + Number(values.seconds) * 1000;
  let runs = seeds.length;
  while (runs < Number(values.runs) && (runs % CHECK_EVERY !== 0 || performance.now() < endMs)) {
    tryOne(mutate(chance.of(kept), chance.of(kept), words, chance));
    runs++;
  }
  const perSecond = Math.round((runs * 1000) / (performance.now() - startMs));
  process.stdout.write(`stat::number_of_executed_units: ${runs}\nstat::average_exec_per_sec: ${perSecond}\n`);
  process.stdout.write(`seed ${values.seed}, cov: ${outcomes.size} outcomes\n`);
}

function attempt(input: Buffer): string {
  try {
    return target.tryOne(input);
  } catch (error) {
    mkdirSync(values.found, { recursive: true });
    const file = join(values.found, `${name}-${process.pid}`);
    writeFileSync(file, input);
    process.stderr.write(`broken by ${file} (${input.length} bytes, seed ${values.seed})\n`);
    throw error;
  }
}

/** Findings of the past. */
function corpus(): Buffer[] {
  const folder = join('test/fuzz/corpus', name);
  try {
    return readdirSync(folder).map((file) => readFileSync(join(folder, file)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** What is the same of two outcomes where only names and numbers differ. */
function shapeOf(outcome: string): string {
  return outcome
    .slice(0, SHAPE_LETTERS)
    .replaceAll(/found .{0,100}?(, expected|; allowed)/gs, 'found$1')
    .replaceAll(/"[^"]*("|$)|'[^']*('|$)/gs, '')
    .replaceAll(/[^A-Za-z ,;:._[\]-]/g, '');
}
