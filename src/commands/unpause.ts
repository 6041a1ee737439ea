import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/** Lets a paused guest go on. Errors: those of `find` and `request`. */
export async function unpause(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'unpause' });
  return { domid: domain.domid, name: domain.name };
}
