import test from 'ava';
import { auditLedger, parseAnswer } from '../../src/stage/ledger-line.js';

const record = (line: string): string => `${line.padEnd(63)}\n`;
const SENT = ['W 5 aa', 'W 10 bb', 'W 15 cc'];

test('an answer is read, and nothing else is', (t) => {
  t.deepEqual(parseAnswer('W 10 10'), { kind: 'W', number: 10, count: 10 });
  for (const line of ['', 'W 10', 'X 1 1', 'E 1 1 1', 'E -1 1', ' E 1 1']) t.is(parseAnswer(line), undefined, line);
});

test('a ledger with every acknowledged write once is sound, whether the last unanswered one is in it or not', (t) => {
  const sound = { lost: [], doubled: [], misplaced: [], strange: [] };
  const acknowledged = SENT.slice(0, 2);
  t.deepEqual(auditLedger(acknowledged.map(record).join(''), SENT, acknowledged), { records: 2, ...sound });
  t.deepEqual(auditLedger(SENT.map(record).join(''), SENT, acknowledged), { records: 3, ...sound });
  t.deepEqual(auditLedger('', [], []), { records: 0, ...sound });
});

test('a lost, doubled, misplaced, strange or torn record is seen', (t) => {
  const audit = (lines: readonly string[], rest = '') =>
    auditLedger(lines.map(record).join('') + rest, SENT, SENT.slice(0, 2));
  t.deepEqual(audit(['W 5 aa']).lost, ['W 10 bb']);
  t.deepEqual(audit(['W 5 aa', 'W 10 bb', 'W 5 aa']).doubled, ['W 5 aa']);
  t.deepEqual(audit(['W 10 bb', 'W 5 aa']).misplaced, ['W 5 aa']);
  t.deepEqual(audit(['W 5 aa', 'W 10 bb', 'W 10 xx']).strange, ['W 10 xx']);
  t.deepEqual(audit(['W 5 aa', 'W 10 bb'], 'W 15').strange, ['W 15']);
});
