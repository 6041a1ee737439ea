import { armFault } from '../../src/native/fault.js';
import { faultPoint } from '../../src/base/fault.js';

/** Arms KEMARI_FAULT and passes a point five times; each time it says so, and when: milliseconds of its own clock. */

const PASSES = 5;

armFault(process.env);
const startedAtMs = performance.now();
for (let pass = 1; pass <= PASSES; pass += 1) {
  faultPoint('takeover.loaded');
  process.stdout.write(`${pass} ${(performance.now() - startedAtMs).toFixed(3)}\n`);
}
