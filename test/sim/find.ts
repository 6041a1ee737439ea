import { planOf } from './plan.js';
import { REAL_ENGINE, simulate, type Outcome } from './simulation.js';
import type { Engine } from './world.js';

/** The first of `count` seeds from `first` on that breaks a rule; undefined: none does. */
export function findViolation(
  first: number,
  count: number,
  engine: Engine = REAL_ENGINE,
): { readonly seed: number; readonly outcome: Outcome } | undefined {
  for (let seed = first; seed < first + count; seed++) {
    const outcome = simulate(planOf(seed), engine);
    if (outcome.violation !== undefined) return { seed, outcome };
  }
  return undefined;
}
