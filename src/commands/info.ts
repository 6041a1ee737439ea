import type { DomainInfo } from '../host/contract.js';
import { request } from '../host/control-client.js';
import { openHost, targetOf } from './context.js';

export type { StandbyInfo, TakeoverFailure } from '../host/standby-info.js';
export type { CopyInfo, DiskInfo, DomainInfo, ProtectionEvent, ProtectionInfo, VifInfo } from '../host/contract.js';

/** All that a domain's kemari-dm knows of it. Errors: those of `find` and `request`. */
export async function info(root: string, nameOrDomid: string): Promise<DomainInfo> {
  const domain = await openHost(root).find(nameOrDomid);
  return request(targetOf(domain), { verb: 'info' });
}
