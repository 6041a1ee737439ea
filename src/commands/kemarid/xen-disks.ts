import type { Logger } from 'pino';
import { isControlDomain } from '../../hypervisor/xen/xen.js';
import { addon } from '../../native/addon.js';
import { vbd } from '../../ring/xen/vbd.js';
import { XenDevices } from '../../ring/xen/xen-devices.js';
import { XenStore } from '../../ring/xen/xenstore.js';

/**
 * Serves the disks of this host's Xen guests that nobody protects (`script=block-kemari`): whoever protects a guest takes them
 * over while it runs. Returns how to end it; where this is no dom0 there is nothing to do. Errors: `KEMARI_XEN_MISSING`.
 */
export async function serveXenDisks(logger: Logger): Promise<() => Promise<void>> {
  if (!isControlDomain()) return () => Promise.resolve();
  const store = await XenStore.connect();
  const gate = new addon.OutputGate();
  gate.open();
  const disks = await XenDevices.serve(vbd, {
    store,
    open: ({ domid, target, readOnly, discard }, onEvent) =>
      new addon.Disk({
        ...{ name: `xen${domid}`, xen: { domid }, gate, readOnly, discard, direct: true, queues: 1, serial: '' },
        target: /^nbds?(\+\w+)?:/.test(target) ? { nbdUri: target } : { path: target },
        ...{ engine: 'auto', onEvent },
      }),
    onError: (path, error) => {
      logger.error({ event: 'xen-disk', path, err: error }, `${path}: ${error.message}`);
    },
  });
  logger.info({ event: 'xen-disks' }, 'serves disks of the guests of this Xen');
  return async () => {
    await disks.end();
    store.close();
  };
}
