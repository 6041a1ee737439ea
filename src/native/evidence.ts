import { join } from 'node:path';
import { addon } from './addon.js';

/**
 * Keeps evidence in the folder that KEMARI_EVIDENCE names, if it names one: a file for this process, named by its pid. Once a
 * process, before it has a guest. Errors: `KEMARI_EVIDENCE_FILE`.
 */
export function keepEvidence(environment: Readonly<Record<string, string | undefined>>): void {
  const folder = environment['KEMARI_EVIDENCE'];
  if (folder === undefined || folder === '') return;
  addon.keepEvidence({ path: join(folder, String(process.pid)) });
}
