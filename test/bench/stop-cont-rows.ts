import { freeze, thaw } from '../../src/bench/freeze.js';
import type { PeerMachine } from '../../src/bench/peer-machine.js';
import type { Progress } from '../../src/bench/progress.js';
import type { Row } from './rows.js';
import { median, pairedRatio } from '../../src/bench/statistics.js';
import type { Variant } from './variant.js';

/** Round trips of one measurement; its median is the sample. */
const ROUND_TRIPS = 100;
const TARGET = 1.6;

/** `stop` and `cont` with one disk and one NIC, against the same machine with no vhost device; all frozen before and after. */
export async function stopContRows(
  ours: Variant,
  qemu: Variant,
  bare: PeerMachine,
  repeats: number,
  progress: Progress,
): Promise<Row[]> {
  const machines = [ours, qemu, bare];
  const samples = machines.map((): number[] => []);
  for (let repeat = 0; repeat < repeats; repeat++) {
    progress.step(`stop and cont, ${repeat + 1} of ${repeats}`);
    for (let turn = 0; turn < machines.length; turn++) {
      const index = (repeat + turn) % machines.length;
      const machine = machines[index]!;
      thaw(machine.processes);
      samples[index]!.push(median(await machine.stopCont(ROUND_TRIPS)));
      freeze(machine.processes);
    }
  }
  const [our, own, none] = samples as [number[], number[], number[]];
  return [row('no disk and no NIC', our, none, TARGET), row('qemu', our, own, undefined)];
}

function row(against: string, ours: readonly number[], theirs: readonly number[], target: number | undefined): Row {
  return {
    name: `stop and cont, 1 disk and 1 NIC, against ${against}`,
    unit: 'us',
    ours: median(ours),
    against,
    peer: median(theirs),
    ...pairedRatio(ours, theirs),
    target,
    bound: 'at-most',
  };
}
