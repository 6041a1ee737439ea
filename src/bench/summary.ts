import { groupBy } from './group.js';
import type { EpochFigures, Sample } from './ledger.js';
import { median, pairedRatio, type Ratio } from './statistics.js';

const NS_PER_MS = 1e6;

/** One protection in one row of the result. */
export interface Entry {
  readonly protection: string;
  /** Median, in the workload's unit; undefined where nothing succeeded. */
  readonly value: number | undefined;
  readonly samples: number;
  readonly failures: number;
  /** Against the baseline, where both were measured in the same repeats. */
  readonly ratio: Ratio | undefined;
  /** Medians over the repeats, where epochs were counted. */
  readonly epochs:
    | {
        readonly perSecond: number;
        readonly pauseP50Us: number;
        readonly pauseP99Us: number;
        readonly dirtyPages: number | undefined;
        /** Of the last repeat that was measured. */
        readonly parts: EpochFigures['parts'];
      }
    | undefined;
  /** What the link cost, of all repeats together; undefined where nobody counts it. */
  readonly wire: WireFigures | undefined;
}

export interface WireFigures {
  /** For each dirty page: everything that was sent, device state and all, by their number. */
  readonly bytesPerPage: number;
  /** Of the processor that encodes, encrypts and sends, for each byte before encoding, in nanoseconds. */
  readonly cpuNsPerByte: number;
}

/** One workload over one link, with every protection it was measured under. */
export interface Row {
  readonly link: string;
  readonly workload: string;
  readonly entries: readonly Entry[];
}

/** Rows in the order of the samples. Repeats are paired: what disturbed one of them disturbed its baseline too. */
export function summarize(samples: readonly Sample[], baseline: string): Row[] {
  const groups = groupBy(samples, ({ link, workload }) => `${link}\n${workload}`);
  return [...groups.values()].flatMap((group) => {
    const base = group.filter(({ protection }) => protection === baseline);
    const ofProtections = groupBy(group, ({ protection }) => protection);
    const entries = [...ofProtections].map(([protection, own]) => entryOf(protection, own, base));
    return group.slice(0, 1).map(({ link, workload }) => ({ link, workload, entries }));
  });
}

function entryOf(protection: string, own: readonly Sample[], base: readonly Sample[]): Entry {
  const values = own.flatMap(({ value }) => value ?? []);
  const epochs = own.flatMap((sample) => sample.epochs ?? []);
  const middle = (of: (one: (typeof epochs)[number]) => number): number => median(epochs.map(of));
  const pages = epochs.flatMap(({ dirtyPages }) => dirtyPages ?? []);
  return {
    protection,
    value: values.length === 0 ? undefined : median(values),
    samples: values.length,
    failures: own.length - values.length,
    ratio: ratioOf(own, base),
    epochs:
      epochs.length === 0
        ? undefined
        : {
            perSecond: middle(({ perSecond }) => perSecond),
            pauseP50Us: middle(({ pauseP50Us }) => pauseP50Us),
            pauseP99Us: middle(({ pauseP99Us }) => pauseP99Us),
            dirtyPages: pages.length === 0 ? undefined : median(pages),
            parts: epochs.at(-1)?.parts,
          },
    wire: wireOf(epochs),
  };
}

function wireOf(epochs: readonly EpochFigures[]): WireFigures | undefined {
  const sum = (of: (one: EpochFigures) => number | undefined): number =>
    epochs.reduce((total, one) => total + (of(one) ?? 0), 0);
  const pages = sum(({ sentPages }) => sentPages);
  if (pages === 0) return undefined;
  return {
    bytesPerPage: sum(({ sentBytes }) => sentBytes) / pages,
    cpuNsPerByte: (sum(({ linkCpuMs }) => linkCpuMs) * NS_PER_MS) / sum(({ rawBytes }) => rawBytes),
  };
}

function ratioOf(own: readonly Sample[], base: readonly Sample[]): Ratio | undefined {
  const pairs = own.flatMap(({ repeat, value }) => {
    const other = base.find((sample) => sample.repeat === repeat)?.value;
    return value === undefined || other === undefined ? [] : [[value, other] as const];
  });
  if (pairs.length === 0) return undefined;
  return pairedRatio(
    pairs.map(([value]) => value),
    pairs.map(([, other]) => other),
  );
}
