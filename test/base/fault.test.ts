import test from 'ava';
import { faultPoint, parseFault, watchFaultPoint, type Fault } from '../../src/base/fault.js';

test('a fault is a point, and may say what happens there and at which time', (t) => {
  const kill: Fault = { point: 'ack.before', action: 'kill', durationMs: 0, pass: 1 };
  t.deepEqual(parseFault('ack.before'), kill);
  t.deepEqual(parseFault('ack.before:kill'), kill);
  t.deepEqual(parseFault('ack.before@12'), { ...kill, pass: 12 });
  t.deepEqual(parseFault('ack.before:stop@2'), { ...kill, action: 'stop', pass: 2 });
  t.deepEqual(parseFault('ack.before:stall=700'), { ...kill, action: 'stall', durationMs: 700 });
  t.deepEqual(parseFault('ack.before:delay=5@3'), { ...kill, action: 'delay', durationMs: 5, pass: 3 });
});

test('a point that there is not is refused with the nearest one and all there are', (t) => {
  t.throws(() => parseFault('capture.after-stpo:kill'), {
    code: 'KEMARI_FAULT_POINT',
    message: /did you mean "capture\.after-stop"\?.*takeover\.before-fence/s,
  });
  for (const text of ['', ':kill', '@3', 'toString', '__proto__', 'ack', 'ack.before ', 'xyz'.repeat(200)]) {
    t.throws(() => parseFault(text), { code: 'KEMARI_FAULT_POINT' }, text);
  }
});

test('an action, time or pass that there is not is refused', (t) => {
  t.throws(() => parseFault('ack.before:stal=3'), { code: 'KEMARI_FAULT_ACTION', message: /did you mean "stall"/ });
  for (const rest of [
    ...[':', ':explode', ':kill=3', ':stop=', ':stall', ':stall=', ':stall=0', ':stall=-1', ':stall=1.5', ':delay=1e3'],
    ...[':delay=3600001', ':delay=99999999999', '@', '@0', '@-1', '@1.5', '@x', '@1@2', ':stall=5=6', ':kill:stop'],
  ]) {
    t.throws(() => parseFault(`ack.before${rest}`), { code: 'KEMARI_FAULT_ACTION' }, rest);
  }
});

test('only the point that is watched is told of', (t) => {
  let passed = 0;
  faultPoint('takeover.loaded');
  watchFaultPoint('takeover.loaded', () => (passed += 1));
  faultPoint('takeover.resumed');
  t.is(passed, 0);
  faultPoint('takeover.loaded');
  faultPoint('takeover.loaded');
  t.is(passed, 2);
});
