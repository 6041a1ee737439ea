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
  const { asked, work } = worker(4);
  t.is(await ratedInAbout(2, { least: 8, most: 1000 }, work), 4);
  t.deepEqual(asked, [8]);
});

test('a quick guest is asked for as much as takes about the wanted time', async (t) => {
  const { asked, work } = worker(100, 0.1);
  const rate = await ratedInAbout(2, { least: 10, most: 1000 }, work);
  t.deepEqual(asked, [10, 100]);
  t.is(rate, 100 / 1.1);
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
