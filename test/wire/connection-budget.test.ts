import test from 'ava';
import { CONNECTION_LIMIT, CONNECTION_LIMIT_PER_ADDRESS, ConnectionBudget } from '../../src/wire/connection-budget.js';
import { Refusals, REFUSALS_TOLD } from '../../src/wire/refusals.js';

test('an address that has its share gets no further place until one of its own leaves', (t) => {
  const budget = new ConnectionBudget();
  const ended = (): void => t.fail('nobody is displaced by its own address');
  const places = Array.from({ length: CONNECTION_LIMIT_PER_ADDRESS }, () => budget.enter('a', ended));
  t.true(places.every((leave) => leave !== undefined));
  t.is(budget.enter('a', ended), undefined);
  places[3]!();
  places[3]!();
  t.is(budget.count, CONNECTION_LIMIT_PER_ADDRESS - 1);
  t.not(budget.enter('a', ended), undefined);
});

test('a full house makes room for a newcomer: the oldest of the address that has most goes', (t) => {
  const budget = new ConnectionBudget();
  const ended: string[] = [];
  const enter = (address: string, name: string): (() => void) | undefined =>
    budget.enter(address, () => ended.push(name));
  enter('honest', 'honest');
  const crowd = ['b', 'c'];
  for (const address of crowd) {
    for (let count = 0; count < CONNECTION_LIMIT_PER_ADDRESS; count++) enter(address, `${address}${count}`);
  }
  for (let host = 0; budget.count < CONNECTION_LIMIT; host++) enter(`single ${host}`, `single ${host}`);
  t.deepEqual(ended, []);
  for (const name of ['new 1', 'new 2', 'new 3']) t.not(enter(name, name), undefined);
  t.deepEqual(ended, ['b0', 'c0', 'b1']);
  t.is(budget.count, CONNECTION_LIMIT);
});

test('a displaced connection that leaves later takes no place of another', (t) => {
  const budget = new ConnectionBudget();
  const leaves = Array.from({ length: CONNECTION_LIMIT }, (_, host) => budget.enter(`${host}`, () => undefined));
  budget.enter('new', () => undefined);
  leaves[0]!();
  t.is(budget.count, CONNECTION_LIMIT);
});

test('strangers who knock without end leave a bounded number of lines in the log, and are counted', (t) => {
  const told: string[] = [];
  const refusals = new Refusals((peer, why) => told.push(`${peer}: ${why}`));
  for (let count = 0; count < 10_000; count++) refusals.note('a', 'no preamble');
  refusals.close();
  t.is(told.length, REFUSALS_TOLD + 1);
  t.is(told.at(-1), `others: ${10_000 - REFUSALS_TOLD} more connections were turned away in the same seconds`);
  refusals.note('b', 'no key');
  t.is(told.at(-1), 'b: no key');
  refusals.close();
});
