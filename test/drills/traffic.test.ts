import test from 'ava';
import { BLOCK_BYTES, crc32, makeBlock, readBlock } from './chain/block.js';
import { Echoes } from './chain/echoes.js';

/** What counts the traffic of the drills. */

test("a block's checksum is zlib's, and one bit that is wrong is found", (t) => {
  t.is(crc32(Buffer.from('123456789')), 0xcbf43926);
  const block = makeBlock(7);
  t.is(block.length, BLOCK_BYTES);
  t.is(readBlock(block).number, 7);
  block[BLOCK_BYTES - 1]! ^= 1;
  t.throws(() => readBlock(block), { message: /^block 7 is damaged/ });
});

test('what is lost, late, doubled or strange is counted as that', (t) => {
  const echoes = new Echoes();
  for (let number = 1; number <= 6; number += 1) t.is(echoes.next(), number);
  for (const [index, number] of [1, 3, 2, 3, 6, 7, undefined].entries()) echoes.heard(number, index);
  t.deepEqual(echoes.counts(), { sent: 6, lost: 2, late: 1, doubled: 1, strange: 2 });
  t.deepEqual([echoes.answered, echoes.allAnswered], [4, false]);
  t.deepEqual(echoes.arrivalsMs, [0, 1, 2, 4]);
});
