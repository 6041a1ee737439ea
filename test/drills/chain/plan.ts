import { type Planned, type Policy, POLICIES } from './drill.js';
import { FAULTS } from './faults.js';
import { Seeded } from './seeded.js';

/** Drill number `index` of a seed, from 0: every fault once, in the seed's order, then all again in another one. */
export function planned(seed: number, index: number): Planned {
  const round = Math.floor(index / FAULTS.length);
  const random = new Seeded(seed + round);
  const fault = random.shuffle(FAULTS)[index % FAULTS.length]!;
  const policy = new Seeded(seed ^ (index + 1)).pick(Object.keys(POLICIES) as Policy[]);
  return { index, seed, fault, policy };
}
