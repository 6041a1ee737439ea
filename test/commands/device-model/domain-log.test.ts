import { closeSync, openSync } from 'node:fs';
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import { CONSOLE_LOG_LIMIT_BYTES, ConsoleLog, LogFile } from '../../../src/commands/device-model/domain-log.js';

interface LogRecord {
  readonly msg: string;
  readonly level: number;
  readonly source: string;
}

/** A log that collects what is written, and a clock that is set by hand. */
function stand(): { log: ConsoleLog; records: LogRecord[]; clock: { nowMs: number } } {
  const records: LogRecord[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done): void {
      records.push(JSON.parse(chunk.toString()) as LogRecord);
      done();
    },
  });
  const clock = { nowMs: 0 };
  return { log: new ConsoleLog(pino(sink), () => clock.nowMs), records, clock };
}

function messages(records: readonly LogRecord[]): string[] {
  return records.map(({ msg }) => msg);
}

test('a line of the console is a record, however it arrives', (t) => {
  const { log, records } = stand();
  log.write(Buffer.from('Linux ver'));
  log.write(Buffer.from('sion 6.1\r\nlogin: '));
  t.deepEqual(messages(records), ['Linux version 6.1']);
  log.flush();
  t.deepEqual(messages(records), ['Linux version 6.1', 'login: ']);
  t.true(records.every(({ source }) => source === 'console'));
});

test('text that is not ASCII stays what it was, wherever it is cut', (t) => {
  const { log, records } = stand();
  const bytes = Buffer.from('grüße\n');
  for (const byte of bytes) log.write(Buffer.from([byte]));
  t.deepEqual(messages(records), ['grüße']);
});

test('a guest cannot fill the disk: what is too much is counted, not written', (t) => {
  const { log, records, clock } = stand();
  const line = Buffer.from(`${'x'.repeat(1023)}\n`);
  for (let count = 0; count < 3 * (CONSOLE_LOG_LIMIT_BYTES / 1024); count++) log.write(line);
  const logged = records.length * 1023;
  t.true(logged <= CONSOLE_LOG_LIMIT_BYTES && logged > CONSOLE_LOG_LIMIT_BYTES - 2048);
  clock.nowMs = 60_000;
  log.write(Buffer.from('later\n'));
  t.regex(messages(records).at(-2) ?? '', /^\d+ bytes of console output were not logged$/);
  t.is(messages(records).at(-1), 'later');
});

test('a line without end does not grow in memory', (t) => {
  const { log, records } = stand();
  for (let count = 0; count < 10; count++) log.write(Buffer.alloc(3000, 'z'));
  t.true(records.length >= 4);
});

test('a log that cannot be written takes nothing else along', (t) => {
  const fd = openSync('/dev/full', 'w');
  t.teardown(() => {
    closeSync(fd);
  });
  const logger = pino({}, new LogFile(fd));
  t.notThrows(() => {
    for (let record = 0; record < 3; record += 1) logger.info('lost');
  });
});
