import { request } from '../host/control-client.js';
import type { EpochRecord } from '../host/epoch-record.js';
import { openHost, targetOf } from './context.js';

export { chromeTrace } from '../host/chrome-trace.js';

/** The last epochs of a protected domain, oldest first. Errors: those of `find` and `request`; `KEMARI_NOT_PROTECTED`. */
export async function trace(root: string, nameOrDomid: string): Promise<readonly EpochRecord[]> {
  const domain = await openHost(root).find(nameOrDomid);
  return request(targetOf(domain), { verb: 'trace' });
}
