import test from 'ava';
import { readRunBlueprint, writeRunBlueprint } from '../../../src/commands/device-model/run-blueprint.js';

const DEVICE = {
  ...{ type: 'vbd', device: '51712', frontend: { 'ring-ref': '8', state: '4' } },
  ...{ backend: { params: '/dev/vdb', 'queue-0/x': '' }, toolstack: {} },
};

test('what a standby is told of machine and devices is read as it was written', (t) => {
  const blueprint = { machine: Buffer.from([0, 255]), devices: [DEVICE] };
  t.deepEqual(readRunBlueprint(writeRunBlueprint(blueprint)), blueprint);
});

for (const [what, value] of [
  ['no JSON', '{'],
  ['no machine', { devices: [] }],
  ['a device whose name leads elsewhere', { machine: '', devices: [{ ...DEVICE, device: '../../1' }] }],
  ['a node that leads elsewhere', { machine: '', devices: [{ ...DEVICE, frontend: { '../x': '1' } }] }],
  ['a node that is no text', { machine: '', devices: [{ ...DEVICE, backend: { state: 4 } }] }],
] as const) {
  test(`a standby writes nothing into its xenstore for a blueprint with ${what}`, (t) => {
    const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    t.throws(() => readRunBlueprint(bytes), { code: 'KEMARI_XEN_CONTEXT' });
  });
}
