import test from 'ava';
import { CountedEpochs } from '../../src/bench/counted-epochs.js';
import type { EpochFigures } from '../../src/bench/ledger.js';

/** Says how often it was asked before. */
function played(): { readonly epochs: () => Promise<EpochFigures> } {
  let perSecond = 0;
  return {
    epochs: () => Promise.resolve({ perSecond: perSecond++, pauseP50Us: 1, pauseP99Us: 1, pauseShare: 0 }),
  };
}

test('all epochs of a measurement count where nothing else is said', async (t) => {
  const epochs = new CountedEpochs(played());
  await epochs.begin();
  t.is((await epochs.end())?.perSecond, 1);
});

test('only the epochs of the part that counts are told, and its answer is passed on', async (t) => {
  const epochs = new CountedEpochs(played());
  await epochs.begin();
  t.is(await epochs.only(() => Promise.resolve('done')), 'done');
  t.is((await epochs.end())?.perSecond, 2);
});

test('a part without epochs has none, whatever passed around it', async (t) => {
  const figures = await played().epochs();
  const answers = [figures, figures, undefined, figures];
  const epochs = new CountedEpochs({ epochs: () => Promise.resolve(answers.shift()) });
  await epochs.begin();
  await epochs.only(() => Promise.resolve());
  t.is(await epochs.end(), undefined);
});
