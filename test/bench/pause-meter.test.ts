import test from 'ava';
import { PauseMeter } from '../../src/bench/pause-meter.js';

function metered() {
  const clock = { nowMs: 1000 };
  const meter = new PauseMeter(() => clock.nowMs);
  const at = (nowMs: number, name: string): void => {
    clock.nowMs = nowMs;
    meter.onEvent({ name, data: {} });
  };
  const readAt = (nowMs: number) => {
    clock.nowMs = nowMs;
    return meter.read();
  };
  return { at, readAt };
}

test('a pause lasts from STOP to RESUME, and its share is that of the time between readings', (t) => {
  const { at, readAt } = metered();
  at(1100, 'STOP');
  at(1120, 'RESUME');
  at(1200, 'STOP');
  at(1240, 'RESUME');
  const figures = readAt(2000)!;
  t.is(figures.pauseP50Us, 20_000);
  t.is(figures.pauseP99Us, 40_000);
  t.is(figures.perSecond, 2);
  t.is(figures.pauseShare, 0.06);
});

test('a reading has what ended since the one before', (t) => {
  const { at, readAt } = metered();
  at(1100, 'STOP');
  t.is(readAt(1200), undefined);
  at(1300, 'RESUME');
  const figures = readAt(1400)!;
  t.is(figures.pauseP50Us, 200_000);
  t.is(figures.pauseShare, 1);
  t.is(readAt(1500), undefined);
});

test('a second STOP, a RESUME without one and other events change nothing', (t) => {
  const { at, readAt } = metered();
  at(1010, 'RESUME');
  at(1100, 'STOP');
  at(1150, 'STOP');
  at(1160, 'MIGRATION');
  at(1200, 'RESUME');
  at(1300, 'RESUME');
  const figures = readAt(2000)!;
  t.is(figures.perSecond, 1);
  t.is(figures.pauseP50Us, 100_000);
});
