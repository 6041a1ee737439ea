import test from 'ava';
import type { VifConfig } from '../../src/model/domain-config.js';
import { Problems, type Problem } from '../../src/model/problems.js';
import { parseVifSpec } from '../../src/model/vif-spec.js';

function parse(spec: string): { vif: VifConfig; problems: readonly Problem[] } {
  const problems = new Problems();
  const vif = parseVifSpec(spec, { key: 'vif[2]', index: 2, domainName: 'g', defaultQueues: 1, problems });
  return { vif, problems: problems.toError('x').details['problems'] as Problem[] };
}

const mac = '00:16:3e:74:3d:76';

const ACCEPTED: readonly (readonly [spec: string, expected: Partial<VifConfig>])[] = [
  ['mac=00:16:3E:74:3d:76,bridge=br1', { mac, bridge: 'br1' }],
  [' mac = 00:16:3e:74:3d:76 , model=virtio-net ', { mac, bridge: 'xenbr0' }],
  [`mac=${mac},type=vif,script=vif-bridge,backend=0,devid=2,mtu=1500`, { mac }],
  [`mac=${mac},bridge=none`, { bridge: undefined }],
  [`mac=${mac},vifname=tap-web.0,queues=8`, { vifname: 'tap-web.0', queues: 8 }],
  [`mac=${mac},bridge=`, { bridge: 'xenbr0' }],
];

for (const [spec, expected] of ACCEPTED) {
  test(`accepted: ${spec}`, (t) => {
    const { vif, problems } = parse(spec);
    t.deepEqual(problems, []);
    t.like(vif, { mac, queues: 1, ...expected });
  });
}

test('the empty string is a NIC with all defaults', (t) => {
  const { vif, problems } = parse('');
  t.deepEqual(problems, []);
  t.like(vif, { bridge: 'xenbr0', vifname: undefined, queues: 1 });
  t.regex(vif.mac, /^00:16:3e:[0-7][0-9a-f]:[0-9a-f]{2}:[0-9a-f]{2}$/);
});

const REFUSED: readonly (readonly [spec: string, key: string, allowed: RegExp])[] = [
  ['mac=01:16:3e:00:00:00', 'vif[2].mac', /one station/],
  ['mac=00:00:00:00:00:00', 'vif[2].mac', /one station/],
  ['mac=00:16:3e:00:00', 'vif[2].mac', /six groups/],
  ['mac=00-16-3e-00-00-00', 'vif[2].mac', /six groups/],
  ['model=e1000', 'vif[2].model', /virtio-net/],
  ['type=netfront', 'vif[2].type', /vif, ioemu/],
  ['ip=10.0.0.1', 'vif[2].ip', /leave it out/],
  ['rate=10Mb/s', 'vif[2].rate', /leave it out/],
  ['script=vif-route', 'vif[2].script', /vif-bridge/],
  ['backend=netvm', 'vif[2].backend', /Domain-0/],
  ['devid=0', 'vif[2].devid', /^2/],
  ['mtu=9000', 'vif[2].mtu', /1500/],
  ['bridge=a/b', 'vif[2].bridge', /interface name/],
  ['vifname=sixteen-letters-', 'vif[2].vifname', /1 to 15/],
  ['queues=9', 'vif[2].queues', /1 to 8/],
  ['brigde=br0', 'vif[2]', /did you mean "bridge="/],
  ['xenbr0', 'vif[2]', /bridge=/],
  [`mac=${mac},mac=${mac}`, 'vif[2].mac', /given before/],
];

for (const [spec, key, allowed] of REFUSED) {
  test(`refused: ${spec}`, (t) => {
    const { problems } = parse(spec);
    t.deepEqual(
      problems.map((problem) => problem.key),
      [key],
    );
    t.regex(problems[0]!.allowed, allowed);
  });
}
