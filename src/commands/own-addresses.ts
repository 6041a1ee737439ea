import { ownAddresses as addresses, readKemaridRecord } from '../host/kemarid-record.js';
import type { HostPaths } from '../host/paths.js';
import { DEFAULT_PORT, type PeerAddress } from '../wire/contract.js';

/** Where this host's kemarid can be asked, as the other side is told; whether it runs is found when it is asked. */
export function ownAddresses(host: HostPaths): PeerAddress[] {
  const port = readKemaridRecord(host)?.port ?? DEFAULT_PORT;
  return addresses().map((address) => ({ host: address, port }));
}
