import { setTimeout as delay } from 'node:timers/promises';
import { addon } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';
import { readMachineState } from './machine-state.js';

/**
 * Runs in dom0, on a guest that is at work: `replica.js DOMID CUTS`. After each cut, the guest held, a copy that was made of
 * checkpoints alone is compared with the guest's memory. Prints what it found as one line of JSON.
 */
export interface ReplicaReport {
  readonly cuts: number;
  /** Pages that the guest has, at the last comparison. */
  readonly pages: number;
  /** Of all cuts: pages that differ, and are none that Xen writes while the guest is paused. */
  readonly differing: readonly number[];
  /** How many differ when the guest has run on after the last cut: the comparison sees what was written since. */
  readonly differingAfterwards: number;
  /** Sent ahead of the first cut, and by each cut. */
  readonly roundPages: number;
  readonly cutPages: readonly number[];
  readonly pausesUs: readonly number[];
  readonly vcpuCount: number;
  readonly eventChannelCount: number;
  readonly hvmContextBytes: number;
  /** Guest system time between the first and the last cut. */
  readonly systemTimeNs: number;
}

/** A guest of this size ends below it, special pages included. */
const ADDRESS_SPACE_BYTES = 2 ** 32;
const AT_MOST = 1_000;
/** How long a guest works between two cuts. */
const WORK_MS = 50;

export async function checkReplica(domid: number, cuts: number): Promise<ReplicaReport> {
  const image = new testing.CheckpointImage(ADDRESS_SPACE_BYTES);
  const capture = new addon.Capture({
    ...{ xenDomid: domid, gate: new addon.OutputGate(), devices: [], console: undefined, link: image },
  });
  try {
    await capture.attach();
    const { pages: roundPages } = await capture.copyRound();
    const differing = new Set<number>();
    const cutPages: number[] = [];
    const pausesUs: number[] = [];
    const times: bigint[] = [];
    let pages = 0;
    let state = undefined;
    let epoch = 0n;
    for (let cut = 0; cut < cuts; cut++) {
      const { dirtyPages, wasRunning } = await capture.capture(++epoch, 'after-ack');
      if (!wasRunning) throw new Error('the guest was not running');
      state = readMachineState(image.received().machineState);
      times.push(state.systemTimeNs);
      const compared = image.compareXen(domid, AT_MOST);
      ({ pages } = compared);
      for (const page of compared.differing) if (!state.writtenByXen.includes(page)) differing.add(page);
      cutPages.push(dirtyPages);
      await capture.resume();
      await delay(WORK_MS);
      // The pause of a cut that nobody looks at.
      pausesUs.push((await capture.capture(++epoch, 'at-once')).pauseUs);
      await delay(WORK_MS);
    }
    return {
      ...{ cuts: cutPages.length, pages, differing: [...differing], roundPages, cutPages, pausesUs },
      differingAfterwards: image.compareXen(domid, AT_MOST).differing.length,
      vcpuCount: state?.vcpuCount ?? 0,
      eventChannelCount: state?.eventChannelCount ?? 0,
      hvmContextBytes: state?.hvmContext.length ?? 0,
      systemTimeNs: Number(times.at(-1)! - times[0]!),
    };
  } finally {
    await capture.close();
  }
}

if (process.argv[1]?.endsWith('replica.js') === true) {
  const [domid, cuts] = process.argv.slice(2).map(Number);
  console.log(JSON.stringify(await checkReplica(domid!, cuts!)));
}
