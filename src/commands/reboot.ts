import { request } from '../host/control-client.js';
import { openHost, targetOf, type DomainReference } from './context.js';

/** Asks the guest to start over (ACPI where it can, a reset else); returns once it was asked. Errors: those of `find` and `request`. */
export async function reboot(root: string, nameOrDomid: string): Promise<DomainReference> {
  const domain = await openHost(root).find(nameOrDomid);
  await request(targetOf(domain), { verb: 'reboot' });
  return { domid: domain.domid, name: domain.name };
}
