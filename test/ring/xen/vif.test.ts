import test from 'ava';
import type { ReadNode } from '../../../src/ring/xen/split-device.js';
import { vif } from '../../../src/ring/xen/vif.js';

/** What Linux's driver writes. */
const LINUX = {
  'tx-ring-ref': '9',
  'rx-ring-ref': '768',
  'event-channel-tx': '16',
  'event-channel-rx': '17',
  'request-rx-copy': '1',
  'feature-rx-notify': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

function reader(nodes: Readonly<Record<string, string | undefined>>): ReadNode {
  return async (name) => Promise.resolve(nodes[name]);
}

test('the rings are where the driver says, that which receives first', async (t) => {
  t.deepEqual(await vif.rings(reader(LINUX)), {
    rings: [
      { refs: [768], port: 17 },
      { refs: [9], port: 16 },
    ],
    offloads: { scatter: true, checksum: true, tcp4: true, tcp6: true },
  });
});

test('a driver with one event channel has it for both rings', async (t) => {
  const { rings } = await vif.rings(
    reader({ ...LINUX, 'event-channel-tx': undefined, 'event-channel-rx': undefined, 'event-channel': '5' }),
  );
  t.deepEqual(
    rings.map(({ port }) => port),
    [5, 5],
  );
});

test('a driver gets no frame that it did not say it takes', async (t) => {
  const without = async (nodes: Readonly<Record<string, string | undefined>>): Promise<unknown> =>
    (await vif.rings(reader({ ...LINUX, ...nodes }))).offloads;
  t.like(await without({ 'feature-sg': '0' }), { scatter: false });
  t.like(await without({ 'feature-no-csum-offload': '1' }), { checksum: false });
  t.like(await without({ 'feature-ipv6-csum-offload': undefined }), { checksum: false });
  t.like(await without({ 'feature-gso-tcpv4': undefined }), { tcp4: false, tcp6: true });
  t.like(await without({ 'feature-gso-tcpv6': '0' }), { tcp4: true, tcp6: false });
});

test('a driver that wants what we do not offer is refused in words', async (t) => {
  for (const nodes of [
    { 'request-rx-copy': undefined },
    { 'rx-ring-ref': undefined },
    { 'tx-ring-ref': undefined },
    { 'event-channel-tx': undefined },
    { 'event-channel-rx': '0' },
    { 'multi-queue-num-queues': '2' },
  ]) {
    await t.throwsAsync(vif.rings(reader({ ...LINUX, ...nodes })), {
      code: 'KEMARI_XEN_RING',
      message: /expected one queue of two rings/,
    });
  }
});

test('a vif is what xl wrote of it', async (t) => {
  const nodes = { 'frontend-id': '7', handle: '1', mac: '00:16:3e:00:09:01', bridge: 'xenbr1' };
  t.deepEqual(await vif.entry(reader(nodes)), {
    domid: 7,
    index: 1,
    mac: '00:16:3e:00:09:01',
    bridge: 'xenbr1',
    vifname: undefined,
  });
});
