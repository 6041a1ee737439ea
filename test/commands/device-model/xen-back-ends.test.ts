import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../../src/base/deadline.js';
import { XenBackEnds } from '../../../src/commands/device-model/xen-back-ends.js';
import type { DeviceEvent, RingDevice, XenRings } from '../../../src/native/ring.js';
import { devicePaths, type DeviceNodes } from '../../../src/ring/xen/device-nodes.js';
import type { SplitDevice } from '../../../src/ring/xen/split-device.js';
import { XenDevices } from '../../../src/ring/xen/xen-devices.js';
import { XenStore } from '../../../src/ring/xen/xenstore.js';
import { PlayedStore } from '../../ring/xen/played-store.js';

const DOMID = 7;
const TIMEOUT_MS = 20_000;

/** How the mapping of a device's rings ends. */
type Outcome = 'served' | 'refused' | 'open';

interface PlayedDevice extends RingDevice {
  readonly say: (event: DeviceEvent) => void;
  readonly isClosed: boolean;
  readonly rings: XenRings | undefined;
}

const REFUSAL: DeviceEvent = { type: 'protocol-error', code: 'KEMARI_XEN_GRANT', text: 'the ring is not granted' };
const STARTED: DeviceEvent = { type: 'started', code: '', text: '' };

/** What of a device's native half the bus uses. */
function playedDevice(say: (event: DeviceEvent) => void, outcome: Outcome): PlayedDevice {
  const device = {
    ...{ say, isClosed: false, rings: undefined as XenRings | undefined },
    connectRings(rings: XenRings) {
      device.rings = rings;
      if (outcome !== 'open') setImmediate(say, outcome === 'served' ? STARTED : REFUSAL);
    },
    close() {
      device.isClosed = true;
      return Promise.resolve();
    },
  };
  return device as unknown as PlayedDevice;
}

function kind(type: 'vbd' | 'vif'): SplitDevice<string, PlayedDevice> {
  return {
    ...{ type, noun: type === 'vbd' ? 'disk' : 'vif', label: 'name', script: `${type}-kemari` },
    entry: async (backend) => (await backend('name')) ?? '',
    describe: () => ({ 'feature-played': 1 }),
    rings: async (frontend) => ({ rings: [{ refs: [Number(await frontend('ring-ref'))], port: 3 }] }),
  };
}

const [disk, nic] = [kind('vbd'), kind('vif')];

function nodesOf({ type, script }: typeof disk, name: string): DeviceNodes {
  const { frontend, backend } = devicePaths(DOMID, type, '0');
  return {
    ...{ type, device: '0', frontend: { 'ring-ref': '9', backend }, toolstack: {} },
    backend: { frontend, name, script, online: '1', 'kemari-status': 'ready' },
  };
}

interface Stand {
  readonly store: PlayedStore;
  readonly backEnds: XenBackEnds;
  readonly devices: PlayedDevice[];
  readonly events: DeviceEvent[];
  /** A device in the place of kemarid's, or, with nodes, one that waits. */
  readonly serve: (of: typeof disk, name: string, outcome: Outcome, nodes?: DeviceNodes) => Promise<void>;
}

async function stand(t: ExecutionContext): Promise<Stand> {
  const store = await PlayedStore.start();
  const backEnds = new XenBackEnds(await XenStore.connect(store.path));
  const devices: PlayedDevice[] = [];
  const events: DeviceEvent[] = [];
  t.teardown(async () => {
    await backEnds.end().catch(() => undefined); // the test may have done it
    store.close();
  });
  return {
    ...{ store, backEnds, devices, events },
    serve: (of, name, outcome, nodes) =>
      backEnds.serve(of, {
        ...{ domid: DOMID, name, nodes },
        open: (_, onEvent) => {
          const device = playedDevice(onEvent, outcome);
          devices.push(device);
          return device;
        },
        onEvent: (event) => events.push(event),
      }),
  };
}

/** A guest's device as xl and its driver have left it, served by this host's kemarid. Returns those that kemarid opens. */
async function servedByKemarid(t: ExecutionContext, store: PlayedStore, of: typeof disk): Promise<PlayedDevice[]> {
  const { frontend, backend } = devicePaths(DOMID, of.type, '0');
  const { frontend: front, backend: back } = nodesOf(of, 'xvda');
  for (const [name, value] of Object.entries({ ...front, state: '4' })) store.write(`${frontend}/${name}`, value);
  for (const [name, value] of Object.entries({ ...back, state: '4' })) store.write(`${backend}/${name}`, value);
  const opened: PlayedDevice[] = [];
  const connection = await XenStore.connect(store.path);
  const kemarid = await XenDevices.serve(of, {
    store: connection,
    open: (_, onEvent) => {
      const device = playedDevice(onEvent, 'served');
      opened.push(device);
      return device;
    },
    onError: (_, error) => {
      t.fail(error.message);
    },
  });
  t.teardown(async () => {
    await kemarid.end();
    connection.close();
  });
  t.true(await waitUntil(() => opened[0]?.rings !== undefined, { timeoutMs: TIMEOUT_MS }));
  return opened;
}

for (const of of [disk, nic]) {
  test(`a ${of.noun} passes to the guest's kemari-dm once kemarid has let go of it, and back at its end`, async (t) => {
    const { store, backEnds, devices, serve } = await stand(t);
    const kemarids = await servedByKemarid(t, store, of);
    await serve(of, 'xvda', 'served');
    t.true(kemarids[0]?.isClosed);
    t.deepEqual(devices[0]?.rings, { rings: [{ refs: [9], port: 3 }] });
    t.is(kemarids.length, 1);
    const [nodes] = await backEnds.nodes();
    t.like(nodes, { type: of.type, device: '0' });
    t.is(nodes?.backend['name'], 'xvda');
    await backEnds.end();
    t.true(devices[0]?.isClosed);
    t.true(await waitUntil(() => kemarids[1]?.rings !== undefined, { timeoutMs: TIMEOUT_MS }));
  });

  test(`a ${of.noun} that the guest's kemari-dm cannot serve is no end of it: kemarid goes on`, async (t) => {
    const { store, backEnds, serve } = await stand(t);
    const kemarids = await servedByKemarid(t, store, of);
    await t.throwsAsync(serve(of, 'xvda', 'refused'), { code: 'KEMARI_XEN_GRANT' });
    await backEnds.end();
    t.true(await waitUntil(() => kemarids[1]?.rings !== undefined, { timeoutMs: TIMEOUT_MS }));
    t.is(store.nodes.get(`${devicePaths(DOMID, of.type, '0').backend}/state`), '4', 'the guest sees nothing of it');
  });
}

test('a device that the guest has not is refused', async (t) => {
  const { serve } = await stand(t);
  await t.throwsAsync(serve(nic, '00:16:3e:00:00:01', 'served'), {
    ...{ code: 'KEMARI_XEN_GONE', message: /has no vif 00:16:3e:00:00:01/ },
  });
});

test("a standby's rings are connected when the guest is in place, one device after the other", async (t) => {
  const { backEnds, devices, serve } = await stand(t);
  await serve(disk, 'xvda', 'open', nodesOf(disk, 'xvda'));
  await serve(nic, 'mac', 'served', nodesOf(nic, 'mac'));
  t.deepEqual(
    devices.map(({ rings }) => rings),
    [undefined, undefined],
  );
  let isConnected = false;
  const connecting = backEnds.connect().then(() => {
    isConnected = true;
  });
  t.true(await waitUntil(() => devices[0]?.rings !== undefined, { timeoutMs: TIMEOUT_MS }));
  t.false(isConnected);
  t.is(devices[1]?.rings, undefined);
  devices[0]?.say(STARTED);
  await connecting;
  t.not(devices[1]?.rings, undefined);
});

test('a guest is not carried on without a device whose rings cannot be mapped: the takeover fails', async (t) => {
  const { backEnds, events, serve } = await stand(t);
  await serve(disk, 'xvda', 'served', nodesOf(disk, 'xvda'));
  await serve(nic, 'mac', 'refused', nodesOf(nic, 'mac'));
  await t.throwsAsync(backEnds.connect(), { code: 'KEMARI_XEN_GRANT' });
  t.like(events.at(-1), { type: 'protocol-error', code: 'KEMARI_XEN_GRANT' });
});

test('a guest is not carried on without a device that was lost while it waited: the takeover fails', async (t) => {
  const { backEnds, devices, events, serve } = await stand(t);
  await serve(disk, 'xvda', 'served', nodesOf(disk, 'xvda'));
  devices[0]?.say(REFUSAL);
  t.true(await waitUntil(() => events.length > 0, { timeoutMs: TIMEOUT_MS }));
  await t.throwsAsync(backEnds.connect(), { code: 'KEMARI_XEN_RING', message: /has been lost/ });
});
