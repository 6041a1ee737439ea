import { neverOccurred } from './expected.js';
import { planOf } from './plan.js';
import { shrink } from './shrink.js';
import type { Tally } from './tally.js';

const SECTIONS: readonly (readonly [prefix: string, title: string])[] = [
  ['fault: ', 'faults'],
  ['A dies before: ', 'A dies before'],
  ['A stands still before: ', 'A stands still before'],
  ['B dies before: ', 'B dies before'],
  ['B stands still before: ', 'B stands still before'],
  ['A hears ', 'A hears'],
  ['A does ', 'A does'],
  ['B hears ', 'B hears'],
  ['B does ', 'B does'],
  ['takeover: ', 'takeovers by'],
  ['exception: ', 'not promised, and happened'],
  ['end: ', 'it ended with'],
];
const LINE_CHARACTERS = 110;

/** How often everything happened, by what it is; and what never did. */
export function tallyText(tally: Tally): string {
  const sections = SECTIONS.map(([prefix, title]) => {
    const counts = tally.under(prefix).map(([what, count]) => `${what} ${count}`);
    return `${title}:\n${wrapped(counts.length === 0 ? ['nothing'] : counts)}`;
  });
  const never = neverOccurred(tally);
  return `${sections.join('\n')}\nnever occurred:\n${wrapped(never.length === 0 ? ['nothing: all that is known did'] : never)}\n`;
}

function wrapped(items: readonly string[]): string {
  const lines: string[] = [];
  for (const item of items) {
    const last = lines.at(-1);
    if (last === undefined || last.length + item.length > LINE_CHARACTERS) lines.push(`  ${item}`);
    else lines[lines.length - 1] = `${last}, ${item}`;
  }
  return lines.join('\n');
}

/** A seed that broke a rule, shrunk and told, and how to have it again. */
export function failureText(seed: number): string {
  const { plan, outcome } = shrink(planOf(seed));
  const { violation } = outcome;
  const faults = plan.faults.map((fault) => `  ${JSON.stringify(fault)}\n`).join('');
  return (
    `${outcome.story.join('\n')}\n\nseed ${seed}: ${violation?.rule ?? '?'}: ${violation?.text ?? '?'}\n` +
    `shrunk to ${plan.faults.length} faults, which the story above is of:\n${faults}again: npm run sim -- --seed ${seed}\n`
  );
}

export function failureJson(seed: number): object {
  const { plan, outcome } = shrink(planOf(seed));
  return { failedSeed: seed, violation: outcome.violation, shrunk: plan, story: outcome.story };
}
