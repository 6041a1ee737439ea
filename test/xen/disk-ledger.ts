import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { typeIntoGuest } from './guest.js';
import type { NestedNode } from './nested-node.js';

const RECORD_BYTES = 4096;
/** Records are numbered from 1 and lie at their number; what the guest remembers of them comes behind. */
const MAX_RECORDS = 8_000;
const MEMORY_AT = 8_192;

/**
 * Has a guest write records of random bytes to its disk, one after the other, each through to storage, and remember in its memory
 * what it is about to write: a guest that lived through the same time twice would have written something else.
 */
export async function keepGuestWriting(node: NestedNode, name: string): Promise<void> {
  await typeIntoGuest(
    node,
    name,
    'n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); head -c 4096 /dev/urandom >/tmp/r; echo "$n $(md5sum </tmp/r)" >>/tmp/ledger; ' +
      'dd if=/tmp/r of=/dev/xvda bs=4k seek=$n conv=notrunc,fsync 2>/dev/null; echo $n >/tmp/count; usleep 50000; done &',
  );
}

/** Ends it, and has the guest write down what it remembers. The console shows `word` when it has. */
export async function endGuestWriting(node: NestedNode, name: string, word: string): Promise<void> {
  await typeIntoGuest(
    node,
    name,
    `touch /tmp/stop; wait; dd if=/tmp/ledger of=/dev/xvda bs=4k seek=${MEMORY_AT} conv=notrunc,fsync 2>/dev/null; ` +
      `echo "${word[0]!}""${word.slice(1)}" $(cat /tmp/count)`,
  );
}

/** The records on a disk: their sums, by number. */
export function recordsOn(image: Buffer): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (let n = 1; n < MAX_RECORDS; n++) {
    const record = image.subarray(n * RECORD_BYTES, (n + 1) * RECORD_BYTES);
    if (record.some((byte) => byte !== 0)) found.set(n, createHash('md5').update(record).digest('hex'));
  }
  return found;
}

/** How many records the image has that was written to this file. */
export async function countRecords(path: string): Promise<number> {
  return recordsOn(await readFile(path)).size;
}

/** What the guest wrote down in the end (`endGuestWriting`): the sums of its records, by number. */
export function memoryOn(image: Buffer): ReadonlyMap<number, string> {
  const text = image
    .subarray(MEMORY_AT * RECORD_BYTES)
    .toString('latin1')
    .replace(/\0[^]*$/, '');
  return new Map(
    [...text.matchAll(/^(\d+) ([0-9a-f]{32})/gm)].map(([, number, sum]) => [Number(number), sum ?? ''] as const),
  );
}
