import type { ExecutionContext } from 'ava';
import type { Capture, CaptureResult } from '../../src/native/capture.js';
import type { CheckpointImage } from '../native/testing.js';
import type { Subject } from './subject.js';

/**
 * Pages that the image has otherwise than the memory of a guest that a capture holds, where no pending read explains them:
 * its data lands in memory after the cut. At most the first 8.
 */
export function differingPages(subject: Subject, image: CheckpointImage): number[] {
  const different = image.differingPages(subject.ramFd, 8);
  return hasPending(subject) ? [] : different;
}

function hasPending(subject: Subject): boolean {
  return subject.devices.some((device) => device.pending().length > 0);
}

/**
 * The image of a guest's checkpoints beside the guest's memory. A read that was in flight at a cut lands in memory after
 * it: the checkpoint says that it is pending, and the next one brings its pages.
 */
export class Comparison {
  #late: readonly number[] = [];

  constructor(
    private readonly subject: Subject,
    private readonly capture: Capture,
    private readonly image: CheckpointImage,
  ) {}

  /**
   * Takes a checkpoint, holds the guest and looks for pages that the image has otherwise than memory; no others than those of
   * pending reads may be among them. The guest stays held. Returns how many there were beside the checkpoint's report.
   */
  async cut(t: ExecutionContext, epoch: bigint): Promise<CaptureResult & { readonly latePages: number }> {
    const report = await this.capture.capture(epoch, 'after-ack');
    const different = this.image.differingPages(this.subject.ramFd, Number.MAX_SAFE_INTEGER);
    t.deepEqual(this.#missing(), [], `epoch ${epoch}: pages that were late at the cut before it`);
    if (different.length > 0) {
      t.true(
        hasPending(this.subject),
        `epoch ${epoch}, ${report.dirtyPages} pages: ${different.slice(0, 8).join(' ')} differ`,
      );
    }
    this.#late = different;
    return { ...report, latePages: different.length };
  }

  /** What the last checkpoint did not bring of the pages that were late at the one before. */
  #missing(): number[] {
    const { ranges } = this.image.received();
    return this.#late.filter((page) => !ranges.some(({ first, count }) => page >= first && page < first + count));
  }
}
