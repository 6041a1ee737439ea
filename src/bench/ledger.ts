import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { KemariError } from '../base/errors.js';
import type { AnatomyPoint } from './anatomy-points.js';
import type { Cell } from './plan.js';
import { otherwise, type Settings } from './settings.js';

/** What one measurement found. */
export interface Sample extends Cell {
  readonly type: 'sample';
  /** In the workload's unit; undefined where it failed. */
  readonly value: number | undefined;
  /** By a clock outside the guest, in seconds. */
  readonly seconds: number;
  /** Why there is no value. */
  readonly failure?: string;
  readonly profiles?: readonly Profile[];
  /** What the protection says of its epochs meanwhile. */
  readonly epochs?: EpochFigures;
}

/** Where the processor was in one process meanwhile. */
export interface Profile {
  readonly process: string;
  /** Folded stacks, beside the ledger. */
  readonly file: string;
}

/** Of the epochs of one measurement, where the protection counts them. Times in microseconds. */
export interface EpochFigures {
  readonly perSecond: number;
  readonly pauseP50Us: number;
  readonly pauseP99Us: number;
  /** Of the guest's time, [0, 1]. */
  readonly pauseShare: number;
  /** These and what follows: where the protection says so. */
  readonly dirtyPages?: number;
  readonly releaseP50Us?: number;
  /** On the wire, and before encoding, during the measurement. */
  readonly sentBytes?: number;
  readonly rawBytes?: number;
  /** Pages that these were, and the CPU time that encoding, encrypting and sending took, in milliseconds. */
  readonly sentPages?: number;
  readonly linkCpuMs?: number;
  /** Where the time goes: medians, microseconds. */
  readonly parts?: EpochParts;
}

/**
 * In the order of time; from `encode` on beside the resume. `state`: what the hypervisor's state takes after the copy is done.
 * `apply`: into the standby's memory, after its ack.
 */
export const EPOCH_PARTS = [
  ...(['trigger', 'stop', 'scan', 'copy', 'state', 'resume'] as const),
  ...(['encode', 'send', 'ack', 'release', 'apply'] as const),
] as const;
export type EpochPart = (typeof EPOCH_PARTS)[number];

/** In microseconds; what is not known is absent. */
export type EpochParts = Readonly<Partial<Record<EpochPart, number>>>;

/** How one failover looked from outside. */
export interface FailoverSample {
  readonly type: 'failover';
  /** One of FAILOVER_WAYS. */
  readonly way: string;
  /** From 0. */
  readonly repeat: number;
  /** The client's longest wait for an answer, in milliseconds; absent where it failed. */
  readonly gapMs?: number;
  /** From the kill to the guest's first frame from the other host. */
  readonly firstFrameMs?: number;
  /** Why there is nothing to say. */
  readonly failure?: string;
}

/** Epochs of one guest, taken apart. Times in microseconds; medians. */
export interface AnatomySample extends AnatomyPoint {
  readonly type: 'anatomy';
  /** From 0. */
  readonly repeat: number;
  /** How many they were; absent, with all that follows, where there is nothing to say. */
  readonly epochs?: number;
  readonly dirtyPages?: number;
  readonly pauseP50Us?: number;
  readonly pauseP99Us?: number;
  readonly parts?: EpochParts;
  /** File of the epochs, one by one, beside the ledger. */
  readonly trace?: string;
  /** Why there is nothing to say. */
  readonly failure?: string;
}

interface Head {
  readonly type: 'run';
  readonly settings: Settings;
}

/**
 * Results as they come: one JSON object a line, the first says what was measured on what. A run that was interrupted goes on
 * from its ledger; a last line that was cut short is dropped.
 */
export class Ledger {
  readonly settings: Settings;
  readonly #path: string;
  readonly #samples = new Map<string, Sample>();
  readonly #failovers = new Map<string, FailoverSample>();
  readonly #anatomy = new Map<string, AnatomySample>();

  private constructor(path: string, settings: Settings) {
    this.#path = path;
    this.settings = settings;
  }

  /**
   * Opens the ledger, or begins one.
   *
   * Errors: `KEMARI_BENCH_RESUME` when it is of other settings, or no ledger.
   */
  static open(path: string, settings: Settings): Ledger {
    if (!existsSync(path)) {
      writeFileSync(path, `${JSON.stringify({ type: 'run', settings } satisfies Head)}\n`);
      return new Ledger(path, settings);
    }
    const ledger = Ledger.read(path);
    const differing = otherwise(ledger.settings, settings);
    if (differing === '') return ledger;
    throw new KemariError('KEMARI_BENCH_RESUME', `${path} is of another run (${differing}); take another --out`);
  }

  /** Errors: `KEMARI_BENCH_RESUME`. */
  static read(path: string): Ledger {
    if (!existsSync(path))
      throw new KemariError('KEMARI_BENCH_RESUME', `${path} is not there: no ledger of kemari bench`);
    const text = readFileSync(path, 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole));
    const [head, ...samples] = whole
      .split('\n')
      .filter(Boolean)
      .map((line) => parse(path, line));
    if (head?.type !== 'run') throw new KemariError('KEMARI_BENCH_RESUME', `${path} is no ledger of kemari bench`);
    const ledger = new Ledger(path, head.settings);
    for (const sample of samples) ledger.#keep(sample);
    return ledger;
  }

  get samples(): readonly Sample[] {
    return [...this.#samples.values()];
  }

  /** Whether it was measured; what failed is measured again. */
  has(cell: Cell): boolean {
    return this.#samples.get(keyOf(cell))?.value !== undefined;
  }

  get failovers(): readonly FailoverSample[] {
    return [...this.#failovers.values()];
  }

  /** As `has`. */
  hasFailover(way: string, repeat: number): boolean {
    return this.#failovers.get(failoverKey({ way, repeat }))?.gapMs !== undefined;
  }

  get anatomy(): readonly AnatomySample[] {
    return [...this.#anatomy.values()];
  }

  /** As `has`. */
  hasAnatomy(point: AnatomyPoint, repeat: number): boolean {
    return this.#anatomy.get(anatomyKey({ ...point, repeat }))?.epochs !== undefined;
  }

  add(sample: Sample | FailoverSample | AnatomySample): void {
    appendFileSync(this.#path, `${JSON.stringify(sample)}\n`);
    this.#keep(sample);
  }

  #keep(line: Line): void {
    if (line.type === 'sample') this.#samples.set(keyOf(line), line);
    if (line.type === 'failover') this.#failovers.set(failoverKey(line), line);
    if (line.type === 'anatomy') this.#anatomy.set(anatomyKey(line), line);
  }
}

type Line = Head | Sample | FailoverSample | AnatomySample;

function anatomyKey({ memoryMib, vcpus, pages, repeat }: AnatomyPoint & { readonly repeat: number }): string {
  return [memoryMib, vcpus, pages, repeat].join('\n');
}

function failoverKey({ way, repeat }: Pick<FailoverSample, 'way' | 'repeat'>): string {
  return [way, repeat].join('\n');
}

function keyOf({ link, protection, workload, repeat }: Cell): string {
  return [link, protection, workload, repeat].join('\n');
}

function parse(path: string, line: string): Line {
  try {
    return JSON.parse(line) as Line;
  } catch (cause) {
    throw new KemariError('KEMARI_BENCH_RESUME', `${path} has a line that is no JSON: ${line.slice(0, 80)}`, { cause });
  }
}
