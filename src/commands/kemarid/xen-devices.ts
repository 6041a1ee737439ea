import type { Logger } from 'pino';
import { isControlDomain } from '../../hypervisor/xen/xen.js';
import { addon } from '../../native/addon.js';
import { attachVif } from '../../ring/vif.js';
import { vbd } from '../../ring/xen/vbd.js';
import { vif } from '../../ring/xen/vif.js';
import { XenDevices } from '../../ring/xen/xen-devices.js';
import { XenStore } from '../../ring/xen/xenstore.js';

/**
 * Serves the disks and NICs of this host's Xen guests that nobody protects (`script=block-kemari`, `script=vif-kemari`):
 * whoever protects a guest takes them over while it runs. Returns how to end it; where this is no dom0 there is nothing to do.
 * Errors: `KEMARI_XEN_MISSING`.
 */
export async function serveXenDevices(logger: Logger): Promise<() => Promise<void>> {
  if (!isControlDomain()) return () => Promise.resolve();
  const store = await XenStore.connect();
  const gate = new addon.OutputGate();
  gate.open();
  const onError = (path: string, error: Error): void => {
    logger.error({ event: 'xen-device', path, err: error }, `${path}: ${error.message}`);
  };
  const disks = await XenDevices.serve(vbd, {
    ...{ store, onError },
    open: ({ domid, target, readOnly, discard }, onEvent) =>
      new addon.Disk({
        ...{ name: `xen${domid}`, xen: { domid }, gate, readOnly, discard, direct: true, queues: 1, serial: '' },
        target: /^nbds?(\+\w+)?:/.test(target) ? { nbdUri: target } : { path: target },
        ...{ engine: 'auto', onEvent },
      }),
  });
  const nics = await XenDevices.serve(vif, {
    ...{ store, onError },
    open: ({ domid, index, mac, bridge, vifname }, onEvent) =>
      attachVif({
        ...{ domid, index, vif: { mac, bridge, vifname, queues: 1 }, driver: { xen: { domid } }, gate, onEvent },
      }).device,
  });
  logger.info({ event: 'xen-devices' }, 'serves disks and NICs of the guests of this Xen');
  return async () => {
    await disks.end();
    await nics.end();
    store.close();
  };
}
