import type { GuestShell } from '../stage/guest-shell.js';

/** Where a workload runs. */
export interface WorkloadContext {
  readonly shell: GuestShell;
  /** How long a measurement is to take, about. */
  readonly seconds: number;
  /** Of the epochs only those that pass while this runs belong to the measurement; without it, all of its time. */
  readonly counted: <T>(work: () => Promise<T>) => Promise<T>;
  /** Runs a program of the guest's own userland on the client's machine; returns what it printed. */
  readonly client: (command: readonly string[], timeoutMs: number) => Promise<string>;
}

/** Something that a guest does. Its value is a rate: more is better. */
export interface Workload {
  /** By which it is chosen: letters, digits and -. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly unit: string;
  /** The guest must have PostgreSQL (hack/bench-image). */
  readonly needsDatabase?: boolean;
  /** Does it once. The time is taken by a clock outside the guest. */
  run(context: WorkloadContext): Promise<number>;
}

/** How much of some work may be asked for. Whole numbers. */
export interface Amounts {
  /** What the slowest protection does in some seconds. */
  readonly least: number;
  readonly most: number;
}

/** Programs take their time to start and end in an emulated guest that is protected. Bounds a failure. */
export const EXTRA_MS = 120_000;

const MS_PER_S = 1000;

/** One that took this many times the wanted duration is slow whatever its program does before: it is not asked for more. */
const SLOW = 2;

/**
 * The rate of a work whose duration cannot be chosen, only its amount: the least amount first, then as much as takes about the
 * wanted time. Protections differ a hundredfold: one amount for all would be over before it began, or never. `work` returns the
 * seconds that an amount took, the start of its program included; the rate is that of what was done over and above the least
 * amount, so that those who do little in the time do not pay for the start alone.
 */
export async function ratedInAbout(
  seconds: number,
  { least, most }: Amounts,
  work: (amount: number) => Promise<number>,
): Promise<number> {
  const leastS = await work(least);
  if (leastS > SLOW * seconds || most <= least) return least / leastS;
  const within = (amount: number): number => Math.min(most, Math.max(2 * least, Math.floor(amount)));
  let amount = within((least / leastS) * seconds);
  let moreS = (await work(amount)) - leastS;
  if (moreS > 0 && moreS < seconds / 2 && amount < most) {
    amount = within(least + ((amount - least) / moreS) * seconds);
    moreS = (await work(amount)) - leastS;
  }
  return moreS > 0 ? (amount - least) / moreS : amount / (leastS + moreS);
}

/** Runs a script in the guest; returns the seconds it took, its own start included. */
export async function secondsInGuest(shell: GuestShell, script: string): Promise<number> {
  const beganAtMs = performance.now();
  await shell.mustRun(script, EXTRA_MS);
  return (performance.now() - beganAtMs) / MS_PER_S;
}

/**
 * How fast something goes on by itself while `pass` passes: in what `read` counts, a second. What an answer of the guest waits for
 * before it is heard, the first waits for as well as the last.
 */
export async function rateWhile(read: () => Promise<number>, pass: () => Promise<void>): Promise<number> {
  const before = await read();
  const beganAtMs = performance.now();
  await pass();
  const after = await read();
  return ((after - before) * MS_PER_S) / (performance.now() - beganAtMs);
}
