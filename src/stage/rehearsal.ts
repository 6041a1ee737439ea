import { existsSync } from 'node:fs';
import { KemariError, messageOf } from '../base/errors.js';
import { failover, type FailoverFigures, type FailoverOptions } from './failover.js';
import type { Report } from './report.js';
import { TwoHosts } from './two-hosts.js';

/**
 * A failover from nothing to nothing: builds two hosts, has one die, checks everything and removes them again, whatever
 * happens. Returns undefined where it could not go on; the report says why.
 *
 * Errors: `KEMARI_INTERRUPTED` when `signal` was aborted, with nothing left; those of TwoHosts.
 */
export async function rehearse(
  options: FailoverOptions,
  report: Report,
  signal: AbortSignal,
): Promise<FailoverFigures | undefined> {
  report.step('making two hosts, their storage and a client, in network namespaces');
  const stage = await TwoHosts.up(`rehearsal-${process.pid}`, { owned: true });
  const aborted = new Promise<'aborted'>((resolve) => {
    const onAbort = (): void => {
      resolve('aborted');
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  const drama = failover(stage, options, report).catch((error: unknown) => {
    if (!signal.aborted) report.claim('it can be shown to its end', false, messageOf(error));
    return undefined;
  });
  const outcome = await Promise.race([drama, aborted]);
  if (outcome === 'aborted') report.step('interrupted: taking everything down');
  await stage.down();
  // Without its stage it ends, and soon.
  await drama;
  if (outcome === 'aborted') {
    // What it was just making came after what was removed.
    await stage.down();
    throw new KemariError('KEMARI_INTERRUPTED', 'interrupted; nothing is left');
  }
  report.claim('nothing is left', !existsSync(stage.names.directory), 'namespaces, processes and files are gone');
  return outcome;
}
