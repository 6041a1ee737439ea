import test from 'ava';
import { readBlueprint, writeBlueprint, type Blueprint } from '../../../src/hypervisor/xen/blueprint.js';

const BLUEPRINT: Blueprint = {
  domid: 3,
  config: { c_info: { type: 'pvh', name: 'web', uuid: 'u' }, b_info: { max_vcpus: 2 } },
  shape: {
    ...{ frameCount: 100, frames: [[0, 10]], parameters: [{ index: 1, value: 2n ** 60n }] },
    ...{ hvmContext: Buffer.from([1, 2]), cpuidPolicy: Buffer.alloc(0), msrPolicy: Buffer.from([3]) },
    tsc: { mode: 2, khz: 1_000_000, elapsedNs: 5n, incarnation: 0 },
  },
};

test('a blueprint is read as it was written, numbers of 64 bits and bytes included', (t) => {
  t.deepEqual(readBlueprint(writeBlueprint(BLUEPRINT)), BLUEPRINT);
});

for (const [what, bytes] of [
  ['none', undefined],
  ['bytes that are none', Buffer.from('{"domid":')],
  ['one without a domid', Buffer.from('{"shape":{"frames":[]}}')],
  ['one without memory', Buffer.from('{"domid":3,"shape":{}}')],
  ['one without a shape', Buffer.from('{"domid":3}')],
] as const) {
  test(`a standby refuses ${what}`, (t) => {
    t.throws(() => readBlueprint(bytes), { code: 'KEMARI_XEN_CONTEXT' });
  });
}
