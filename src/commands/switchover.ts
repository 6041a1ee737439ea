import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/** Hands a protected guest over; returns when it runs on the standby. Errors: those of `find` and `request`. */
export async function switchover(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'switchover' });
  return { domid: domain.domid, name: domain.name };
}
