import type { HostName } from '../stage/names.js';
import { StorageHost } from '../stage/storage-host.js';
import { GUEST_BRIDGE, guestNetwork } from '../stage/topology.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import type { PeerKind, PeerPlace } from './peer-guest.js';

/** Peers on two hosts of this machine. */
export interface PeerWorld extends PeerKind {
  readonly stage: TwoHosts;
}

/** A place on one of these hosts, with a disk that their storage has and a NIC on the guests' network. */
export function placeOnStage(
  stage: TwoHosts,
  host: HostName,
  disk: string,
  { address, ...nic }: { readonly address: string; readonly mac: string; readonly tap: string },
): PeerPlace {
  const network = guestNetwork(address);
  return { host: stage.machines[host], name: disk, disk: StorageHost.uri(disk), network, bridge: GUEST_BRIDGE, ...nic };
}
