import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { addon, type Nic, type NicOptions } from '../../src/native/addon.js';
import { nicOptions, tapName } from '../../src/ring/vif.js';
import { testing } from '../native/testing.js';
import { until } from './until.js';

interface Link {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address: string;
  readonly master?: string;
}

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function link(name: string): Link | undefined {
  return (JSON.parse(ip('-j', 'link', 'show')) as Link[]).find(({ ifname }) => ifname === name);
}

interface Opened {
  readonly nic: Nic;
  readonly close: () => Promise<void>;
}

function open(options: Partial<NicOptions> = {}): Opened {
  const [ours, theirs] = addon.socketPair();
  try {
    const nic = new addon.Nic({
      name: 'net0',
      socketFd: theirs,
      gate: new addon.OutputGate(),
      mac: '00:16:3e:11:22:33',
      tap: 'ktap0',
      bridge: undefined,
      queues: 1,
      onEvent: () => undefined,
      ...options,
    });
    return {
      nic,
      close: async () => {
        await nic.close();
        closeSync(ours);
      },
    };
  } catch (error) {
    closeSync(ours);
    throw error;
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function refused(options: Partial<NicOptions>): { code: string; message: string } {
  try {
    void open(options).close();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('the device was made');
}

test.before(() => {
  testing.unshareNetwork();
  ip('link', 'add', 'kbr', 'mtu', '9000', 'type', 'bridge');
  ip('link', 'set', 'kbr', 'up');
});

test.serial('the tap is up, on its bridge, with the MTU of the bridge', async (t) => {
  const { close } = open({ bridge: 'kbr' });
  const tap = link('ktap0');
  t.is(tap?.master, 'kbr');
  t.true(tap?.flags.includes('UP'));
  t.is(tap?.mtu, 9000);
  t.is(link('kbr')?.mtu, 9000);
  t.is(tap?.address, 'fe:16:3e:11:22:33');
  await close();
});

test.serial('the host gives itself no IPv6 address on the tap', async (t) => {
  const { close } = open();
  t.false(ip('-6', 'address', 'show', 'dev', 'ktap0').includes('inet6'));
  await close();
});

test.serial('the tap goes with the device', async (t) => {
  const { nic, close } = open();
  t.truthy(link('ktap0'));
  await close();
  t.is(link('ktap0'), undefined);
  await nic.close();
});

test.serial('the tap goes with a killed process', async (t) => {
  const script = `
    const { addon } = await import(${JSON.stringify(new URL('../../src/native/addon.js', import.meta.url).href)});
    const [, theirs] = addon.socketPair();
    new addon.Nic({ name: 'net0', socketFd: theirs, gate: new addon.OutputGate(), mac: '00:16:3e:11:22:33',
      tap: 'kkilled', bridge: undefined, queues: 2, onEvent: () => undefined });
    console.log('made');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  t.truthy(link('kkilled'));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await until(() => link('kkilled') === undefined, 'the tap of a killed process goes');
});

test.serial('several queues make one tap, and leave nothing', async (t) => {
  const before = readdirSync('/proc/self/fd').length;
  for (let round = 0; round < 10; round++) {
    const { close } = open({ queues: 8, bridge: 'kbr' });
    t.is(link('ktap0')?.master, 'kbr');
    await close();
    t.is(link('ktap0'), undefined);
  }
  await until(() => {
    collectGarbage();
    return readdirSync('/proc/self/fd').length <= before;
  }, 'all descriptors are closed');
});

test.serial('a bridge that does not exist is named, and no tap stays', (t) => {
  const { code, message } = refused({ bridge: 'kmissing' });
  t.is(code, 'KEMARI_NET_NO_BRIDGE');
  t.regex(message, /'kmissing'.*does not exist.*ip link add kmissing type bridge/);
  t.is(link('ktap0'), undefined);
});

test.serial('what is no bridge is named, and no tap stays', (t) => {
  const { code, message } = refused({ bridge: 'lo' });
  t.is(code, 'KEMARI_NET_BRIDGE');
  t.regex(message, /'lo' for tap 'ktap0' is no bridge/);
  t.is(link('ktap0'), undefined);
});

test.serial('a tap that exists is not taken over', async (t) => {
  const first = open();
  const { code, message } = refused({});
  t.is(code, 'KEMARI_NET_TAP_EXISTS');
  t.regex(message, /'ktap0' exists already.*vifname=/);
  await first.close();
});

test.serial('a persistent tap that nobody uses is not taken over', (t) => {
  ip('tuntap', 'add', 'kpersist', 'mode', 'tap');
  t.is(refused({ tap: 'kpersist' }).code, 'KEMARI_NET_TAP_EXISTS');
  t.truthy(link('kpersist'));
});

for (const tap of ['', 'name-of-16-chars', 'a/b', 'tap%d', 'two words', '..']) {
  test.serial(`the tap name '${tap}' is refused`, (t) => {
    const { code, message } = refused({ tap });
    t.is(code, 'KEMARI_NET_TAP_NAME');
    t.regex(message, /expected 1 to 15 characters/);
  });
}

for (const mac of ['', '00:16:3e:11:22', '00:16:3e:11:22:33:44', '00:16:3e:11:22:3g', '01:16:3e:11:22:33']) {
  test.serial(`the MAC address '${mac}' is refused`, (t) => {
    t.is(refused({ mac }).code, 'KEMARI_NET_MAC');
    t.is(link('ktap0'), undefined);
  });
}

test.serial('nothing is counted before a guest drives the device', async (t) => {
  const { nic, close } = open({ bridge: 'kbr' });
  t.deepEqual(nic.stats(), { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, dropped: 0 });
  t.deepEqual(nic.pending(), []);
  await close();
});

test('a tap is named as xl names it, unless the vif names it', (t) => {
  const vif = { mac: '00:16:3e:11:22:33', bridge: 'kbr', vifname: undefined, queues: 2 };
  t.is(tapName(7, 1, vif), 'vif7.1');
  t.is(tapName(7, 1, { ...vif, vifname: 'web' }), 'web');
  const gate = new addon.OutputGate();
  const onEvent = (): void => undefined;
  t.deepEqual(nicOptions({ domid: 7, index: 1, vif, driver: { socketFd: 9 }, gate, onEvent }), {
    name: 'net1',
    socketFd: 9,
    gate,
    mac: '00:16:3e:11:22:33',
    tap: 'vif7.1',
    bridge: 'kbr',
    queues: 2,
    deferred: undefined,
    onEvent,
  });
});
