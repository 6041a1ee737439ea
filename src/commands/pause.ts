import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/** Stops the guest's CPUs until `unpause`. Errors: those of `find` and `request`. */
export async function pause(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'pause' });
  return { domid: domain.domid, name: domain.name };
}
