import test from 'ava';
import { StorageWatch, type WatchedDisk } from '../../../src/commands/device-model/storage-watch.js';

/** A disk with so many answers so far and so many requests with its storage. */
function disk() {
  const now = { answered: 0, submitted: 0 };
  const stats = (): ReturnType<WatchedDisk['stats']> =>
    ({ reads: now.answered, writes: 0, flushes: 0, discards: 0, errors: 0 }) as ReturnType<WatchedDisk['stats']>;
  return { now, watched: { stats, submitted: () => now.submitted } };
}

test('storage that stops to answer is told of once, and once more when it answers again', (t) => {
  const { now, watched } = disk();
  const told: string[] = [];
  const watch = new StorageWatch([watched], (index, { code, text }) => told.push(`${index} ${code} ${text}`));
  t.teardown(() => {
    watch.close();
  });
  const look = (atMs: number, answered: number, submitted: number): number => {
    Object.assign(now, { answered, submitted });
    watch.look(atMs);
    return watch.silentMs(watched, atMs);
  };
  t.is(look(1_000, 0, 0), 0, 'it owes nothing');
  t.is(look(20_000, 0, 2), 0);
  t.is(look(24_000, 0, 2), 4_000);
  t.is(look(25_000, 1, 2), 0, 'one was answered');
  t.deepEqual(told, []);
  t.is(look(31_000, 1, 2), 6_000);
  look(32_000, 1, 2);
  t.deepEqual(told, ['0 KEMARI_DISK_SILENT storage has not answered for 6 s']);
  look(40_000, 3, 0);
  t.is(told[1], '0 KEMARI_DISK_SILENT storage answers again, after 15 s');
  look(50_000, 3, 1);
  t.is(told.length, 2);
});
