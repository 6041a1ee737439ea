import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KemariError } from '../base/errors.js';
import { MOST_MEMORY_MIB, MOST_VCPUS } from '../bench/anatomy-points.js';
import { runAnatomy } from '../bench/anatomy-run.js';
import { choose, LINKS, PROTECTIONS, WIRE_PROTECTIONS, WORKLOADS } from '../bench/catalogue.js';
import type { HostsOptions } from '../bench/hosts/connect.js';
import { LINKS_OF_HOSTS, PROTECTIONS_ON_HOSTS } from '../bench/hosts/hosts-site.js';
import { Ledger } from '../bench/ledger.js';
import { runFailovers } from '../bench/failovers.js';
import { describeMachine } from '../bench/machine.js';
import { writeReport, type BenchReport } from '../bench/report.js';
import { runBench } from '../bench/run.js';
import { DATABASE_IMAGE, DEMO_IMAGE, missingImageFile } from '../stage/demo-image.js';
import type { GuestImage } from '../stage/staged-guest.js';

export interface BenchOptions {
  /** Names of the catalogue; all, or those of the quick run, when absent. */
  readonly protections: readonly string[] | undefined;
  readonly workloads: readonly string[] | undefined;
  readonly links: readonly string[] | undefined;
  readonly repeats: number | undefined;
  readonly seconds: number | undefined;
  /** Of the guest: 512 and 1 when absent. Of the largest that is taken apart: as far as that goes. */
  readonly memoryMib: number | undefined;
  readonly vcpus: number | undefined;
  /** Written between two epochs that are taken apart; the sweep's own when absent. */
  readonly pages: readonly number[] | undefined;
  /** Results of an older run, that these are held against. */
  readonly against: string | undefined;
  readonly extent: keyof typeof EXTENTS;
  /** Machines to measure on; two hosts of this one when undefined. */
  readonly hosts: HostsOptions | undefined;
  /** Folder of the results; a run that is there already goes on. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

const LEDGER_FILE = 'samples.jsonl';

/** What fits into ten minutes: one of each kind. */
const QUICK = {
  protections: ['none', 'proxy', 'kemari', 'remus-100', 'colo', 'stop-and-copy'],
  workloads: [
    'idle',
    'tcp-out',
    'tcp-rr',
    'iozone-write-128k',
    'iozone-sync-4k',
    'redis-set-p1',
    'redis-set-p16',
    'cpu-dirty-10',
  ],
  links: ['free'],
  repeats: 3,
  seconds: 2,
  failovers: 0,
  sweeps: 0,
};
const FULL = {
  protections: Object.keys(PROTECTIONS).filter((name) => !WIRE_PROTECTIONS.includes(name)),
  workloads: [],
  links: [],
  repeats: 5,
  seconds: 5,
  failovers: 50,
  sweeps: 2,
};
/** What pages and the processor cost on the link, by way of encoding, encrypted and not. */
const WIRE = {
  protections: ['kemari', ...WIRE_PROTECTIONS],
  workloads: ['redis-set-p1', 'redis-set-p16', 'build', 'cpu-dirty-10'],
  links: ['1gbit'],
  repeats: 3,
  seconds: 3,
  failovers: 0,
  sweeps: 0,
};
/** Where the processor's time goes, and nothing else: who is looked at is slower. */
const PROFILE = {
  protections: ['kemari'],
  workloads: ['idle', 'tcp-out', 'redis-set-p16'],
  links: ['free'],
  repeats: 1,
  seconds: 5,
  failovers: 0,
  sweeps: 0,
};
const NO_WORKLOADS = { protections: [], workloads: [], links: [], repeats: 0 };
/** What a client sees of the death of a host, and nothing else. */
const FAILOVER = { ...NO_WORKLOADS, seconds: 0, failovers: 50, sweeps: 0 };
/** Where the time of an epoch goes in guests of many sizes, and nothing else. */
const ANATOMY = { ...NO_WORKLOADS, seconds: 8, failovers: 0, sweeps: 2 };
const EXTENTS = { quick: QUICK, full: FULL, wire: WIRE, failover: FAILOVER, anatomy: ANATOMY, profile: PROFILE };

/**
 * Measures workloads under protections over links on two hosts, and writes the report.
 *
 * Errors: `KEMARI_USAGE` (a name that is none, or what these hosts cannot do), `KEMARI_DRILL_IMAGE`, `KEMARI_BENCH_RESUME`,
 * `KEMARI_INTERRUPTED` (what was measured stays, the report is written), those of the stage or `KEMARI_BENCH_HOST`.
 */
export async function bench(options: BenchOptions): Promise<BenchReport> {
  const { hosts } = options;
  const defaults = hosts === undefined ? EXTENTS[options.extent] : onHosts(EXTENTS[options.extent]);
  const hasWorkloads = defaults.repeats > 0;
  const workloads = WORKLOADS.map(({ name }) => name);
  const protections = hosts === undefined ? Object.keys(PROTECTIONS) : PROTECTIONS_ON_HOSTS;
  const matrix = {
    protections: choose('protection', protections, options.protections ?? defaults.protections),
    workloads: choose('workload', workloads, options.workloads ?? defaults.workloads),
    links: choose('link', hosts === undefined ? Object.keys(LINKS) : LINKS_OF_HOSTS, options.links ?? defaults.links),
    repeats: hasWorkloads ? (options.repeats ?? defaults.repeats) : 0,
  };
  const image = imageFor(hasWorkloads ? matrix.workloads : []);
  // Read before hours are spent.
  const before = options.against === undefined ? undefined : Ledger.read(join(options.against, LEDGER_FILE));
  const seconds = options.seconds ?? defaults.seconds;
  const { memoryMib = 512, vcpus = 1 } = options;
  const profileFolder = options.extent === 'profile' ? options.folder : undefined;
  await mkdir(options.folder, { recursive: true });
  const ledger = Ledger.open(join(options.folder, LEDGER_FILE), {
    // What another machine is like is for whoever measures there to say.
    ...(hosts === undefined ? describeMachine() : { hosts: Object.values(hosts.destinations).join(', ') }),
    ...{ seconds, memoryMib, vcpus },
    ...(profileFolder === undefined ? {} : { profiled: 'yes, and slower for it' }),
  });
  const { signal } = options;
  await runBench(ledger, { matrix, seconds, shape: { memoryMib, vcpus }, image, hosts, profileFolder, signal });
  /** Where nothing else is measured, what is told of repeats is told of these. */
  const countOf = (count: number): number => (hasWorkloads || count === 0 ? count : (options.repeats ?? count));
  await runFailovers(ledger, { failovers: countOf(defaults.failovers), memoryMib, vcpus, signal });
  const most = {
    memoryMib: options.memoryMib ?? MOST_MEMORY_MIB,
    vcpus: options.vcpus ?? MOST_VCPUS,
    pages: options.pages,
  };
  await runAnatomy(ledger, { sweeps: countOf(defaults.sweeps), seconds, most, folder: options.folder, signal });
  const report = await writeReport(ledger, options.folder, before);
  if (signal.aborted) {
    throw new KemariError('KEMARI_INTERRUPTED', `interrupted; the same command goes on from ${options.folder}`);
  }
  return report;
}

/** The same as far as it can be done on machines of others, whose link is as it is and which nobody kills. */
function onHosts(extent: (typeof EXTENTS)[keyof typeof EXTENTS]): (typeof EXTENTS)[keyof typeof EXTENTS] {
  const protections = extent.protections.filter((name) => PROTECTIONS_ON_HOSTS.includes(name));
  return { ...extent, protections, links: [...LINKS_OF_HOSTS], failovers: 0, sweeps: 0 };
}

/** The guest that these can run in; the everyday one where it has all that they need. Errors: `KEMARI_DRILL_IMAGE`. */
function imageFor(workloads: readonly string[]): GuestImage {
  requireImage(DEMO_IMAGE, 'hack/setup');
  const needsDatabase = WORKLOADS.some((one) => one.needsDatabase === true && workloads.includes(one.name));
  if (!needsDatabase) return DEMO_IMAGE;
  requireImage(DATABASE_IMAGE, 'hack/bench-image');
  return DATABASE_IMAGE;
}

function requireImage(image: GuestImage, builder: string): void {
  const missing = missingImageFile(image);
  if (missing === undefined) return;
  throw new KemariError('KEMARI_DRILL_IMAGE', `the guest is not built: ${missing} is missing; run ${builder}`);
}
