import test from 'ava';
import { checkKey, type Operation } from './chain/linearizability.js';
import { Seeded } from './chain/seeded.js';

type Answered = [calledAtMs: number, answeredAtMs: number | undefined];

const set = ([calledAtMs, answeredAtMs]: Answered, value: number): Operation => ({
  ...{ kind: 'set', calledAtMs, answeredAtMs, value },
});
const get = ([calledAtMs, answeredAtMs]: Answered, result: number | null): Operation => ({
  ...{ kind: 'get', calledAtMs, answeredAtMs, result },
});
const increment = ([calledAtMs, answeredAtMs]: Answered, result: number | undefined): Operation => ({
  ...{ kind: 'increment', calledAtMs, answeredAtMs, result },
});

test('one after the other: a read sees the last write, and nothing before the first', (t) => {
  t.is(checkKey([get([0, 1], null), set([2, 3], 7), get([4, 5], 7)]), 'linearizable');
  t.is(checkKey([]), 'linearizable');
});

test('a write that was acknowledged and is lost is found', (t) => {
  t.is(checkKey([set([0, 1], 7), get([2, 3], null)]), 'not-linearizable');
  t.is(checkKey([set([0, 1], 7), set([2, 3], 8), get([4, 5], 7)]), 'not-linearizable');
  t.is(checkKey([increment([0, 1], 1), increment([2, 3], 1)]), 'not-linearizable');
});

test('a write that happened twice is found', (t) => {
  t.is(checkKey([set([0, 1], 7), set([2, 3], 8), get([4, 5], 8), get([6, 7], 7)]), 'not-linearizable');
  t.is(checkKey([increment([0, 1], 1), increment([2, 3], 3)]), 'not-linearizable');
});

test('what overlaps may have happened in either order, but in one for all', (t) => {
  const writes = [set([0, 10], 1), set([0, 10], 2)];
  t.is(checkKey([...writes, get([11, 12], 1)]), 'linearizable');
  t.is(checkKey([...writes, get([11, 12], 2)]), 'linearizable');
  t.is(checkKey([...writes, get([11, 12], 1), get([13, 14], 2)]), 'not-linearizable');
  t.is(checkKey([set([0, 10], 1), get([1, 2], 1), get([3, 4], null)]), 'not-linearizable', 'new, then old');
});

test('what never was answered may have happened, late too, or not at all', (t) => {
  const lost = set([0, undefined], 9);
  t.is(checkKey([lost, get([5, 6], null)]), 'linearizable');
  t.is(checkKey([lost, get([5, 6], null), get([7, 8], 9)]), 'linearizable');
  t.is(checkKey([lost, get([5, 6], 9), get([7, 8], null)]), 'not-linearizable');
  t.is(checkKey([increment([0, undefined], undefined), increment([1, 2], 2)]), 'linearizable');
});

test('a search that grows too long says so', (t) => {
  const wide = Array.from({ length: 40 }, (_, value) => set([0, 100], value));
  t.is(checkKey([...wide, get([101, 102], 99)], 1_000), 'undecided');
});

test('histories of a real register are linearizable, and one changed answer is found (seeded)', (t) => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const random = new Seeded(seed);
    let value: number | null = null;
    // Each happens at its own moment; calls and answers lie around it, so that they overlap.
    const history = Array.from({ length: 200 }, (_, moment): Operation => {
      const times: Answered = [moment - 3 * random.next(), moment + 3 * random.next()];
      if (random.next() < 0.5) return set(times, (value = moment));
      return get(times, value);
    });
    t.is(checkKey(history), 'linearizable', `seed ${seed}`);
    const at = history.findLastIndex(({ kind }) => kind === 'get');
    const wrong = history.with(at, { ...history[at]!, kind: 'get', result: -1 });
    t.is(checkKey(wrong), 'not-linearizable', `seed ${seed}`);
  }
});
