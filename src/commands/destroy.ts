import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/** How long a kemari-dm may take to end after it has answered. */
const END_TIMEOUT_MS = 5_000;

export interface DestroyReport extends DomainReference {
  /** Its kemari-dm did not answer and was killed. */
  readonly killed: boolean;
}

/**
 * Ends a domain at once, as by pulling the plug: by its kemari-dm, and when that does not answer, by killing it.
 * Returns when nothing of the domain is left.
 *
 * Errors: those of `find`, what kemari-dm answers, `KEMARI_PROCESS_STUCK`, `KEMARI_NO_PROCESS`.
 */
export async function destroy(
  root: string,
  nameOrDomid: string,
  onProgress: (text: string) => void,
): Promise<DestroyReport> {
  const registry = openHost(root);
  const domain = await registry.find(nameOrDomid);
  const reference = { domid: domain.domid, name: domain.name };
  onProgress(`asking kemari-dm of domain "${domain.name}" to end`);
  let endTimeoutMs = END_TIMEOUT_MS;
  try {
    await request(targetOf(domain), { verb: 'destroy' });
  } catch (error) {
    const code = error instanceof KemariError ? error.code : undefined;
    if (code !== 'KEMARI_NOT_RESPONDING' && code !== 'KEMARI_NO_CONNECTION') throw error;
    if (code === 'KEMARI_NOT_RESPONDING') endTimeoutMs = 0;
  }
  onProgress(`waiting for kemari-dm of domain "${domain.name}" to end`);
  if (await waitUntil(() => registry.removeIfStale(domain.domid), { timeoutMs: endTimeoutMs })) {
    return { ...reference, killed: false };
  }
  onProgress(`killing kemari-dm of domain "${domain.name}"`);
  await registry.kill(domain);
  return { ...reference, killed: true };
}
