import type { Plan } from './plan.js';
import { REAL_ENGINE, simulate, type Outcome } from './simulation.js';
import type { Engine } from './world.js';

/** Leaves away whatever a failing plan fails without, with the same rule broken; its story is told. */
export function shrink(
  failing: Plan,
  engine: Engine = REAL_ENGINE,
): { readonly plan: Plan; readonly outcome: Outcome } {
  const rule = simulate(failing, engine).violation?.rule;
  let plan = failing;
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false;
    for (const candidate of smaller(plan)) {
      if (simulate(candidate, engine).violation?.rule !== rule) continue;
      plan = candidate;
      isSmaller = true;
      break;
    }
  }
  return { plan, outcome: simulate(plan, engine, { tells: true }) };
}

function* smaller(plan: Plan): Generator<Plan> {
  for (const index of plan.faults.keys()) yield { ...plan, faults: plan.faults.filter((_, at) => at !== index) };
  if (plan.captureFails !== undefined) yield { ...plan, captureFails: undefined };
  if (plan.loadFailures > 0) yield { ...plan, loadFailures: 0 };
  if (plan.fenceFailures > 0) yield { ...plan, fenceFailures: 0 };
  if (plan.failover === 'auto') yield { ...plan, failover: 'manual' };
}
