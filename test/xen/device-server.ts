import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { addon } from '../../src/native/addon.js';
import type { DeviceEvent } from '../../src/native/ring.js';
import { attachVif } from '../../src/ring/vif.js';
import { vbd } from '../../src/ring/xen/vbd.js';
import { vif } from '../../src/ring/xen/vif.js';
import { XenDevices } from '../../src/ring/xen/xen-devices.js';
import { XenStore } from '../../src/ring/xen/xenstore.js';

/**
 * Run in dom0: serves the disks and NICs of all guests that name our scripts, with nobody to protect them, until its input
 * ends. It does what a line there says, and says so: `close` or `open` the gate; `stats` of all NICs, by bridge, and of the
 * gate; `cut FILE`: the machine stands still, and what a checkpoint has of the NICs goes there. Started with such a file it
 * goes on with it.
 */
const [cutPath] = process.argv.slice(2);
const cuts = new Map<string, string>(
  cutPath === undefined ? [] : Object.entries(JSON.parse(readFileSync(cutPath, 'utf8')) as Record<string, string>),
);
const store = await XenStore.connect();
const gate = new addon.OutputGate();
const say = (what: unknown): void => {
  console.log(JSON.stringify(what));
};
const heard =
  (onEvent: (event: DeviceEvent) => void) =>
  (event: DeviceEvent): void => {
    say(event);
    onEvent(event);
  };
const onError = (path: string, error: Error): void => {
  say({ path, error: error.message });
};

const disks = await XenDevices.serve(vbd, {
  store,
  onError,
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
      onEvent: heard(onEvent),
    }),
});
const nics = await XenDevices.serve(vif, {
  store,
  onError,
  open: ({ domid, index, mac, bridge, vifname }, onEvent) => {
    const { device: nic } = attachVif({
      ...{ domid, index, vif: { mac, bridge, vifname, queues: 1 }, driver: { xen: { domid } } },
      ...{ gate, deferred: true, onEvent: heard(onEvent) },
    });
    const cut = cuts.get(mac);
    if (cut !== undefined) nic.restore(Buffer.from(cut, 'base64'));
    nic.open();
    return nic;
  },
});

async function carryOut(line: string): Promise<unknown> {
  const [command, argument = ''] = line.split(' ');
  if (command === 'close') gate.close();
  if (command === 'open') gate.open();
  if (command === 'stats') {
    const stats: Record<string, unknown> = { gate: gate.counters() };
    for (const [path, { device }] of nics.all) {
      stats[(await store.read(`${path}/bridge`)) ?? path] = device?.stats();
    }
    return stats;
  }
  if (command === 'cut') {
    const found: Record<string, string> = {};
    gate.cut();
    for (const [path, { device }] of nics.all) {
      device?.setSuspendOnStop(true);
      device?.machineStopped();
      found[(await store.read(`${path}/mac`)) ?? ''] = device?.cut().toString('base64') ?? '';
    }
    writeFileSync(argument, JSON.stringify(found));
  }
  return undefined;
}

say('serving');
for await (const line of createInterface({ input: process.stdin })) {
  say({ done: line, result: await carryOut(line) });
}
await disks.end();
await nics.end();
store.close();
say('ended');
