import test from 'ava';
import { Undo } from '../../src/bench/undo.js';

test('what was set up last is taken down first, once', async (t) => {
  const undo = new Undo();
  const done: string[] = [];
  undo.defer('first', () => done.push('first'));
  undo.defer('second', () => done.push('second'));
  await Promise.all([undo.run(), undo.run()]);
  t.deepEqual(done, ['second', 'first']);
});

test('a step that fails keeps no other from running', async (t) => {
  const undo = new Undo();
  const done: string[] = [];
  undo.defer('first', () => done.push('first'));
  undo.defer('second', () => Promise.reject(new Error('it fails on purpose')));
  await undo.run();
  t.deepEqual(done, ['first']);
});

test('what is set up after the end is taken down too, before the end is over', async (t) => {
  const undo = new Undo();
  await undo.run();
  let isDown = false;
  const late = async (): Promise<void> => {
    await Promise.resolve();
    isDown = true;
  };
  t.throws(() => {
    undo.defer('late', late);
  });
  await undo.run();
  t.true(isDown);
});
