import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/**
 * Has a standby whose primary is silent forget the guest, which it then never runs: a primary that holds its output may go
 * on. Errors: those of `find` and `request`; `KEMARI_NOT_STANDBY`, `KEMARI_PEER_ANSWERS`, `KEMARI_TAKING_OVER`.
 */
export async function disarm(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'disarm' });
  return { domid: domain.domid, name: domain.name };
}
