import test from 'ava';
import { askPeer } from '../../src/cluster/ask-peer.js';
import type { PathAnswer, PeerAddress } from '../../src/cluster/contract.js';
import { ping } from '../../src/cluster/ping.js';

const A: PeerAddress = { host: '10.0.0.1', port: 8002 };
const B: PeerAddress = { host: '10.1.0.1', port: 8002 };
const silent: PathAnswer = { answer: 'unreachable', reason: 'no answer' };

function asking(answers: Readonly<Record<string, PathAnswer | 'never'>>) {
  return askPeer({
    addresses: [A, B],
    ask: ({ host }) => {
      const answer = answers[host];
      return answer === 'never' || answer === undefined ? new Promise(() => undefined) : Promise.resolve(answer);
    },
    ping: (host) => Promise.resolve(host === A.host),
  });
}

test('one path that answers is enough, whatever the others do', async (t) => {
  for (const answer of ['runs', 'gone'] as const) {
    t.is((await asking({ [A.host]: silent, [B.host]: { answer } })).answer, answer);
    t.is(
      (await asking({ [A.host]: 'never', [B.host]: { answer } })).answer,
      answer,
      'a path that hangs is not waited for',
    );
  }
});

test('silence on every path is no knowledge, and the report says what answers ping', async (t) => {
  const { answer, text } = await asking({ [A.host]: silent, [B.host]: silent });
  t.is(answer, 'unreachable');
  t.is(text, '10.0.0.1 answers ping: no answer; 10.1.0.1 answers no ping: no answer');
});

test('a peer without an address cannot be asked', async (t) => {
  const finding = await askPeer({
    addresses: [],
    ask: () => Promise.resolve(silent),
    ping: () => Promise.resolve(false),
  });
  t.is(finding.answer, 'unreachable');
});

test('a host that is up answers a ping, one that is not does not', async (t) => {
  t.true(await ping('127.0.0.1', 5_000));
  t.true(await ping('::1', 5_000));
  // Reserved: nothing is sent there.
  t.false(await ping('240.0.0.1', 200));
  t.false(await ping('no-address', 200));
});
