import { messageOf } from '../../src/base/errors.js';
import { freeze, thaw } from '../../src/bench/freeze.js';
import type { Progress } from '../../src/bench/progress.js';
import type { Row } from './rows.js';
import { median, pairedRatio } from '../../src/bench/statistics.js';
import type { Variant } from './variant.js';
import { sample, type Sample, type Workload, type WorkloadContext } from './workload.js';

type Samples = ReadonlyMap<Variant, readonly Sample[]>;

/**
 * Runs a workload on every variant in turn, `repeats` times, in an order that moves on by one each time; the guests that
 * are not measured stand still. All are frozen before and after.
 */
export async function measure(
  workload: Workload,
  variants: readonly Variant[],
  repeats: number,
  context: WorkloadContext,
  progress: Progress,
): Promise<Samples> {
  const samples = new Map<Variant, Sample[]>(variants.map((variant) => [variant, []]));
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = variants[(repeat + turn) % variants.length]!;
      progress.step(`${workload.name}: ${variant.name}, ${repeat + 1} of ${repeats}`);
      thaw(variant.processes);
      samples.get(variant)!.push(await sampleTwice(workload, variant, context, progress));
      freeze(variant.processes);
    }
  }
  return samples;
}

/** A guest that does not answer (a peer's, now and then, after it was frozen) is asked once more before all is given up. */
async function sampleTwice(
  workload: Workload,
  variant: Variant,
  context: WorkloadContext,
  progress: Progress,
): Promise<Sample> {
  try {
    return await sample(workload, variant, context);
  } catch (error) {
    progress.say(`${variant.name} failed, once more: ${messageOf(error)}`);
    thaw(variant.processes);
    return sample(workload, variant, context);
  }
}

/** The rows of one workload: the first variant is ours. */
export function compare(workload: Workload, samples: Samples): Row[] {
  const [[, ours], ...peers] = [...samples] as [[Variant, readonly Sample[]], ...[Variant, readonly Sample[]][]];
  const rows: Row[] = [];
  const { storageDaemon, fastest } = workload.target;
  for (const [variant, theirs] of peers) {
    if (storageDaemon === undefined || variant.name !== 'qemu-storage-daemon') continue;
    rows.push(rateRow(workload, workload.name, ours, variant.name, theirs, storageDaemon));
  }
  const [winner, best] = peers.reduce((a, b) => (medianRate(b[1]) > medianRate(a[1]) ? b : a));
  const name = peers.length > 1 ? `${workload.name}, fastest peer` : workload.name;
  rows.push(rateRow(workload, name, ours, winner.name, best, fastest));
  rows.push({
    name: `${workload.name}, CPU time`,
    unit: `us/${workload.work}`,
    ours: median(ours.map((one) => one.cpuMicroseconds)),
    against: winner.name,
    peer: median(best.map((one) => one.cpuMicroseconds)),
    ...pairedRatio(
      best.map((one) => one.cpuMicroseconds),
      ours.map((one) => one.cpuMicroseconds),
    ),
    target: undefined,
    bound: 'at-least',
  });
  return rows;
}

function rateRow(
  workload: Workload,
  name: string,
  ours: readonly Sample[],
  against: string,
  theirs: readonly Sample[],
  target: number,
): Row {
  const ourRates = ours.map((one) => one.rate);
  const theirRates = theirs.map((one) => one.rate);
  return {
    name,
    unit: workload.unit,
    ours: median(ourRates),
    against,
    peer: median(theirRates),
    ...pairedRatio(ourRates, theirRates),
    target,
    bound: 'at-least',
  };
}

function medianRate(samples: readonly Sample[]): number {
  return median(samples.map((one) => one.rate));
}
