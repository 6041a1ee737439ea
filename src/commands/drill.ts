import { randomInt } from 'node:crypto';
import { KemariError } from '../base/errors.js';
import type { FailoverFigures } from '../stage/failover.js';
import { DEMO_IMAGE, missingImageFile } from '../stage/demo-image.js';
import { rehearse } from '../stage/rehearsal.js';
import { Report, type Claim } from '../stage/report.js';
import type { StagedGuestOptions } from '../stage/staged-guest.js';
import { info } from './info.js';

export interface DrillOptions {
  /** A running domain: its stand-in has its shape. Without one the drill's guest is small. */
  readonly domain: string | undefined;
  readonly takeoverTimeoutMs: number;
  /** Kemari's original order, as `migrate --strict`. */
  readonly strict: boolean;
  /** Seconds after which host A dies; at random within a few when absent. */
  readonly killAfterS: number | undefined;
  readonly print: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface DrillResult {
  readonly verified: boolean;
  readonly claims: readonly Claim[];
  /** undefined where the drill could not be carried out to its end. */
  readonly figures: FailoverFigures | undefined;
}

const KILL_WITHIN_MS = 3_000;
const MS_PER_S = 1_000;
const MIB_BYTES = 1 << 20;
const MORE_DISK_BYTES = 64 * MIB_BYTES;

/**
 * A failover drill that touches nothing that is in use: a guest of the domain's shape (or a small one) runs on two hosts made
 * of network namespaces, is protected, loses its host, and is carried on, under the eyes of a client. The domain itself is
 * only asked for its shape.
 *
 * Errors: `KEMARI_DRILL_IMAGE`, `KEMARI_INTERRUPTED` (nothing is left), those of `info` and of the stage.
 */
export async function drill(root: string, options: DrillOptions): Promise<DrillResult> {
  const missing = missingImageFile();
  if (missing !== undefined) {
    throw new KemariError(
      'KEMARI_DRILL_IMAGE',
      `the drill's guest is not built: ${missing} is missing; run hack/setup`,
    );
  }
  const report = new Report(options.print);
  const shape = options.domain === undefined ? {} : await shapeOf(root, options.domain);
  const { takeoverTimeoutMs, strict, killAfterS } = options;
  const figures = await rehearse(
    {
      ...shape,
      image: DEMO_IMAGE,
      takeoverTimeoutMs,
      killAfterMs: killAfterS === undefined ? randomInt(KILL_WITHIN_MS) : killAfterS * MS_PER_S,
      migrateOptions: strict ? ['--strict'] : [],
    },
    report,
    options.signal,
  );
  return { verified: report.verified, claims: report.claims, figures };
}

/** What a stand-in has in common with its domain: machine, CPUs, memory, and how many disks and NICs. */
async function shapeOf(root: string, domain: string): Promise<Omit<StagedGuestOptions, 'image'>> {
  const { machine, vcpus, memoryBytes, disks, vifs } = (await info(root, domain)).config;
  if (machine === 'xen') throw new KemariError('KEMARI_XEN_GUEST', "there is no stand-in for guests of Xen's");
  return {
    ...{ machine, vcpus, memoryMib: memoryBytes / MIB_BYTES },
    moreDisks: disks.slice(1).map(() => MORE_DISK_BYTES),
    moreVifs: Math.max(vifs.length - 1, 0),
  };
}
