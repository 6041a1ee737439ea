import test from 'ava';
import { ratedInAbout, rateWhile } from '../../src/bench/workload.js';

/** Work at a rate; notes what it was asked for. */
function worker(perSecond: number, startS = 0) {
  const asked: number[] = [];
  const work = (amount: number) => {
    asked.push(amount);
    return Promise.resolve(startS + amount / perSecond);
  };
  return { asked, work };
}

test('a slow guest is asked for the least amount, once', async (t) => {
  const { asked, work } = worker(2);
  t.is(await ratedInAbout(2, { least: 10, most: 1000 }, work), 2);
  t.deepEqual(asked, [10]);
});

test('a quick guest is asked for as much as takes about the wanted time', async (t) => {
  const { asked, work } = worker(100);
  const rate = await ratedInAbout(2, { least: 10, most: 1000 }, work);
  t.deepEqual(asked, [10, 200]);
  t.is(Math.round(rate), 100);
});

test('what a program takes before it begins is not counted, whoever does how much', async (t) => {
  for (const perSecond of [10, 100, 1000]) {
    const { asked, work } = worker(perSecond, 0.9);
    const rate = await ratedInAbout(2, { least: 8, most: 10_000 }, work);
    t.is(Math.round(rate), perSecond, asked.join(' '));
    t.true(asked.at(-1)! >= perSecond, asked.join(' '));
  }
});

test('a guest that was slowed down meanwhile has a rate all the same', async (t) => {
  const tookS = [1, 0.9];
  t.is(await ratedInAbout(2, { least: 9, most: 18 }, () => Promise.resolve(tookS.shift()!)), 20);
});

test('nobody is asked for more than the most', async (t) => {
  const { asked, work } = worker(1e9);
  await ratedInAbout(10, { least: 10, most: 1000 }, work);
  t.deepEqual(asked, [10, 1000]);
});

test('work that fails gives no rate', async (t) => {
  await t.throwsAsync(
    ratedInAbout(1, { least: 1, most: 1 }, () => Promise.reject(new Error('no answer'))),
    { message: 'no answer' },
  );
});

test('what goes on by itself has its rate from what it did between two answers', async (t) => {
  const done = [70, 71];
  const beganAtMs = performance.now();
  const read = () => Promise.resolve(done.shift()!);
  let passed = false;
  const pass = async () => {
    await new Promise(setImmediate);
    passed = true;
  };
  const rate = await rateWhile(read, pass);
  t.true(passed);
  t.true(rate >= 1000 / (performance.now() - beganAtMs));
  t.true(Number.isFinite(rate));
});
