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

/**
 * The rate of a work whose duration cannot be chosen, only its amount: the least amount first, then, where that was quickly
 * done, as much as takes about the wanted time. `work` returns the seconds that an amount took. Protections differ a
 * hundredfold: one amount for all would be over before it began, or never.
 */
export async function ratedInAbout(
  seconds: number,
  { least, most }: Amounts,
  work: (amount: number) => Promise<number>,
): Promise<number> {
  const rate = least / (await work(least));
  const amount = Math.min(most, Math.floor(rate * seconds));
  return amount < 2 * least ? rate : amount / (await work(amount));
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
