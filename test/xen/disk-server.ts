import { addon } from '../../src/native/addon.js';
import { XenDisks } from '../../src/ring/xen/xen-disks.js';
import { XenStore } from '../../src/ring/xen/xenstore.js';

/** Run in dom0: serves the disks of all guests that name our script, with nobody to protect them, until it is told to end. */
const store = await XenStore.connect();
const gate = new addon.OutputGate();
const disks = await XenDisks.serve({
  store,
  open: ({ domid, target, readOnly, discard }, onEvent) =>
    new addon.Disk({
      name: 'xvd',
      xen: { domid },
      gate,
      target: { path: target },
      readOnly,
      direct: true,
      discard,
      queues: 1,
      serial: '',
      engine: 'auto',
      onEvent: (event) => {
        console.log(JSON.stringify(event));
        onEvent(event);
      },
    }),
  onError: (path, error) => {
    console.log(JSON.stringify({ path, error: error.message }));
  },
});
console.log('serving');
process.once('SIGTERM', () => {
  void disks.end().then(() => {
    store.close();
    console.log('ended');
  });
});
