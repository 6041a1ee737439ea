import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/**
 * Has a standby run the guest; returns when it does. While the primary answers that is a switchover. `primaryIsDead`: the
 * operator answers for it.
 *
 * Errors: those of `find` and `request`; `KEMARI_NOT_STANDBY`, `KEMARI_NO_EPOCH`, `KEMARI_PEER_ANSWERS`,
 * `KEMARI_PRIMARY_RUNS`, `KEMARI_PRIMARY_MAY_RUN`, `KEMARI_TAKEOVER_FAILED`.
 */
export async function takeover(
  root: string,
  nameOrDomid: string,
  options: { readonly primaryIsDead: boolean },
): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'takeover', ...options });
  return { domid: domain.domid, name: domain.name };
}
