import test from 'ava';
import { fittedGrowth } from './growth.js';

test('a leak is seen through the saw of garbage collection, and a saw is no leak', (t) => {
  const saw = (leakPerSample: number): number =>
    fittedGrowth(
      Array.from({ length: 120 }, (_, index) => ({
        atMs: index * 10_000,
        value: 60 + (index % 7) + leakPerSample * index,
      })),
    );
  t.true(Math.abs(saw(0)) < 0.5, `${saw(0)}`);
  t.true(Math.abs(saw(0.1) - 11.9) < 0.5, `${saw(0.1)}`);
  t.is(fittedGrowth([{ atMs: 0, value: 7 }]), 0);
});

test('what stands out for a moment is no growth', (t) => {
  const samples = [65, 65, 69, 65, 65, 66].map((value, index) => ({ atMs: index * 10_000, value }));
  t.is(fittedGrowth(samples), 0);
});
