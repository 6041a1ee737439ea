import { addon, type NicOptions } from '../native/addon.js';
import type { VifConfig } from '../model/domain-config.js';
import type { AttachedVif, VifRequest } from './contract.js';

/** Name of a vif's tap on the host: `vifname` of the file, or xl's `vif<domid>.<index>`. */
export function tapName(domid: number, index: number, vif: VifConfig): string {
  return vif.vifname ?? `vif${domid}.${index}`;
}

/** What the addon needs to know to make the device. */
export function nicOptions(request: VifRequest): NicOptions {
  const { domid, index, vif, driver, gate, deferred, onEvent } = request;
  return {
    name: `net${index}`,
    ...driver,
    gate,
    mac: vif.mac,
    tap: tapName(domid, index, vif),
    bridge: vif.bridge,
    queues: vif.queues,
    deferred,
    onEvent,
  };
}

/**
 * Makes the tap, puts it on its bridge and serves the guest's device; a socket in `driver` is closed also on failure.
 * Throws KEMARI_NET_TAP_EXISTS, KEMARI_NET_NO_BRIDGE and the other KEMARI_NET_... codes of addon/ring/net/tap.h.
 */
export function attachVif(request: VifRequest): AttachedVif {
  const options = nicOptions(request);
  return { tap: options.tap, device: new addon.Nic(options) };
}
