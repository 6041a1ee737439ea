import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/**
 * Lets a domain whose standby is silent go on without it: the operator answers for it that no other host runs the guest.
 * Errors: those of `find` and `request`.
 */
export async function resumeUnprotected(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'resume-unprotected' });
  return { domid: domain.domid, name: domain.name };
}
