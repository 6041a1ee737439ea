import { KemariError } from '../../base/errors.js';
import { NETWORK_SCRIPT } from '../../model/xen-scripts.js';
import type { Nic } from '../../native/ring.js';
import type { SplitDevice } from './split-device.js';
import { numberIn } from './xenbus.js';

/** What xl has written of a vif for its back-end. */
export interface VifEntry {
  readonly domid: number;
  /** Which of the guest's vifs it is, from 0. */
  readonly index: number;
  readonly mac: string;
  readonly bridge: string | undefined;
  readonly vifname: string | undefined;
}

/** A NIC of a Xen guest (xen/include/public/io/netif.h). */
export const vif: SplitDevice<VifEntry, Nic> = {
  type: 'vif',
  noun: 'vif',
  label: 'mac',
  script: NETWORK_SCRIPT,

  async entry(backend) {
    return {
      domid: numberIn(await backend('frontend-id')),
      index: numberIn(await backend('handle')),
      mac: (await backend('mac')) ?? '',
      bridge: await backend('bridge'),
      vifname: await backend('vifname'),
    };
  },

  describe() {
    return {
      'feature-sg': 1,
      'feature-gso-tcpv4': 1,
      'feature-gso-tcpv6': 1,
      'feature-ipv6-csum-offload': 1,
      'feature-rx-copy': 1,
      'feature-rx-flip': 0,
      'feature-split-event-channels': 1,
      // The kernel's back-end, which may have been here first, offers these.
      'multi-queue-max-queues': 1,
      'feature-multicast-control': 0,
      'feature-dynamic-multicast-control': 0,
      'feature-ctrl-ring': 0,
      'feature-xdp-headroom': 0,
    };
  },

  async rings(frontend) {
    const said = async (name: string): Promise<boolean> => numberIn(await frontend(name)) !== 0;
    const rx = await frontend('rx-ring-ref');
    const tx = await frontend('tx-ring-ref');
    const port = await frontend('event-channel');
    const rxPort = numberIn(port ?? (await frontend('event-channel-rx')));
    const txPort = numberIn(port ?? (await frontend('event-channel-tx')));
    const queues = Math.max(1, numberIn(await frontend('multi-queue-num-queues')));
    const isWhole = rx !== undefined && tx !== undefined && rxPort !== 0 && txPort !== 0 && queues === 1;
    if (!isWhole || !(await said('request-rx-copy'))) {
      throw new KemariError(
        'KEMARI_XEN_RING',
        `the guest's driver has rings ${rx ?? 'none'} and ${tx ?? 'none'}, ports ${rxPort} and ${txPort}, queues: ` +
          `${queues}; expected one queue of two rings of one page, a port for each or both, and request-rx-copy`,
      );
    }
    return {
      // In the order of the NIC's queues.
      rings: [
        { refs: [numberIn(rx)], port: rxPort },
        { refs: [numberIn(tx)], port: txPort },
      ],
      offloads: {
        scatter: await said('feature-sg'),
        // The tap leaves checksums to be completed for both versions of IP, or for none.
        checksum: !(await said('feature-no-csum-offload')) && (await said('feature-ipv6-csum-offload')),
        tcp4: await said('feature-gso-tcpv4'),
        tcp6: await said('feature-gso-tcpv6'),
      },
    };
  },
};
