import { existsSync } from 'node:fs';
import test from 'ava';
import { addon } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';

const elsewhere = existsSync('/proc/xen/capabilities') ? test.skip : test;

elsewhere('where there is no Xen the addon loads, and a capture of a guest of Xen says what is missing', async (t) => {
  const capture = new addon.Capture({
    ...{ xenDomid: 1, gate: new addon.OutputGate(), devices: [], console: undefined },
    link: new testing.CheckpointImage(4096),
  });
  await t.throwsAsync(capture.attach(), { code: 'KEMARI_XEN_MISSING', message: /libxencall|Xen cannot be reached/ });
  await t.throwsAsync(capture.copyRound(), { code: 'KEMARI_CAPTURE_STATE' });
  await capture.close();
  await t.throwsAsync(capture.attach(), { code: 'KEMARI_CAPTURE_CLOSED' });
});

test('a domid that no guest can have is refused', (t) => {
  const options = {
    gate: new addon.OutputGate(),
    devices: [],
    console: undefined,
    link: new testing.CheckpointImage(4096),
  };
  for (const xenDomid of [0, -1, 0x7ff0, 1.5]) {
    t.throws(() => new addon.Capture({ ...options, xenDomid }), { code: 'KEMARI_ARGUMENT' });
  }
});
