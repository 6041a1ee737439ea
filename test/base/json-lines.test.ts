import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import test from 'ava';
import { DEPTH_LIMIT, readJsonLines } from '../../src/base/json-lines.js';

/** What a socket's reader makes of this text: values, or the error's code. */
function read(text: string): unknown[] {
  const socket = new EventEmitter();
  const heard: unknown[] = [];
  readJsonLines(
    socket as unknown as Duplex,
    (value) => heard.push(value),
    (error) => heard.push(error.code),
  );
  socket.emit('data', Buffer.from(text));
  return heard;
}

const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}\n`;

test('a value too deep for what is done with it afterwards is refused before anything is done with it', (t) => {
  // As deep as fits on a line, and JSON.parse takes it: it is JSON.stringify that would not, when the refusal quotes it.
  for (const depth of [DEPTH_LIMIT + 1, 100_000]) t.deepEqual(read(nested(depth)), ['KEMARI_PROTOCOL']);
  t.deepEqual(read(`{"details":${nested(DEPTH_LIMIT)}}`.replace('\n', '') + '\n'), ['KEMARI_PROTOCOL']);
});

test('depth is that of brackets, not of letters', (t) => {
  t.is(read(nested(DEPTH_LIMIT)).length, 1);
  t.notDeepEqual(read(nested(DEPTH_LIMIT)), ['KEMARI_PROTOCOL']);
  const letters = `${'[{'.repeat(200)}\\"[`;
  t.deepEqual(read(`{"text":"${letters}"}\n`), [{ text: JSON.parse(`"${letters}"`) as string }]);
  t.deepEqual(read(`${'[]'.repeat(1)}\n[${'[],'.repeat(500)}1]\n`).length, 2);
});
