import type { Bench } from './bench.js';
import { bootRow } from './boots.js';
import { compare, measure } from './compare.js';
import { startStopContGuests, startWorkloadGuests } from './guests.js';
import { describeHost, loadNow, type HostDescription } from './host.js';
import { memoryRow } from './memory.js';
import type { OurGuest } from './ours.js';
import { DISK_PEERS, NETWORK_PEERS, type Plan } from './plan.js';
import { formatTable, type Row } from './rows.js';
import { stopContRows } from './stop-cont-rows.js';
import type { Variant } from './variant.js';

export interface Results {
  readonly rows: readonly Row[];
  /** Undefined when the plan needs no long-lived guest, so that nobody asked kemari what it runs on. */
  readonly host: HostDescription | undefined;
}

export async function measureAll(bench: Bench, plan: Plan): Promise<Results> {
  const loadBefore = loadNow();
  const rows: Row[] = [];
  let guest: OurGuest | undefined;
  if (plan.disk.length + plan.network.length > 0 || plan.memory) {
    const [ours, ...peers] = await startWorkloadGuests(bench, plan.disk.length > 0 ? DISK_PEERS : NETWORK_PEERS);
    guest = ours;
    await runWorkloads(bench, plan, [ours, ...peers], rows);
    if (plan.memory) rows.push(memoryRow(ours.info.dmPid));
    for (const variant of [ours, ...peers]) await variant.close();
  }
  if (plan.stopCont) {
    const { ours, qemu, bare } = await startStopContGuests(bench);
    guest ??= ours;
    rows.push(...(await stopContRows(ours, qemu, bare, bench.options.repeats, bench.progress)));
    for (const machine of [ours, qemu, bare]) await machine.close();
  }
  if (plan.boots) rows.push(await bootRow(bench, bench.options.boots));
  return { rows, host: guest === undefined ? undefined : describeHost(bench.options, guest.info, loadBefore) };
}

async function runWorkloads(bench: Bench, plan: Plan, variants: readonly Variant[], rows: Row[]): Promise<void> {
  const networkVariants = variants.slice(0, 1 + NETWORK_PEERS.length);
  const all = [
    ...plan.disk.map((workload) => ({ workload, on: variants })),
    ...plan.network.map((workload) => ({ workload, on: networkVariants })),
  ];
  const context = { client: bench.client, seconds: bench.options.seconds };
  for (const { workload, on } of all) {
    const found = compare(workload, await measure(workload, on, bench.options.repeats, context, bench.progress));
    bench.progress.say(`\n${formatTable(found)}`);
    rows.push(...found);
  }
}
