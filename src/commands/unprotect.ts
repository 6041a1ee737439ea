import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/**
 * Ends a domain's protection; returns when the standby has forgotten it and it runs unprotected. Errors: those of `find` and
 * `request`.
 */
export async function unprotect(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'unprotect' });
  return { domid: domain.domid, name: domain.name };
}
