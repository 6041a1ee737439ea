import { once } from 'node:events';
import { Socket } from 'node:net';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { KemariError } from '../../src/base/errors.js';
import { connectStandby } from '../../src/wire/connect.js';
import { PROTOCOL_VERSION } from '../../src/wire/contract.js';
import { queryPeer } from '../../src/wire/query.js';
import { exchange } from '../../src/wire/control-connection.js';
import { ACCEPT, INSTANCE, KEY, OTHER_KEY, hearOut, knock, listening, offer } from './testing.js';
import { encodePreamble, NO_TOKEN } from '../../src/wire/preamble.js';

test('an offer arrives whole, and the accept opens a stream and a lease connection', async (t) => {
  const { address, offers, links } = await listening(t, KEY);
  const made = offer();
  const { standby, streamFd, leaseFd } = await connectStandby({ address, security: KEY, offer: made });
  t.deepEqual(standby, ACCEPT);
  t.deepEqual(offers.map(plain), [plain(made)]);
  t.true(await waitUntil(() => links.length === 2, { timeoutMs: 5_000 }));
  t.deepEqual(
    links.map(({ kind, token }) => ({ kind, token })).sort((a, b) => (a.kind < b.kind ? -1 : 1)),
    [
      { kind: 'lease', token: ACCEPT.token },
      { kind: 'stream', token: ACCEPT.token },
    ],
  );
  for (const fd of [streamFd, leaseFd]) new Socket({ fd }).destroy();
});

/** Without the keys whose value is undefined, which JSON does not know. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

test('what follows the preamble is left to the link, byte for byte', async (t) => {
  const { address, links } = await listening(t, KEY);
  const socket = await knock(t, address.port);
  socket.write(Buffer.concat([encodePreamble({ kind: 'stream', token: ACCEPT.token }), Buffer.from('hello link')]));
  t.true(await waitUntil(() => links.length === 1, { timeoutMs: 5_000 }));
  const link = new Socket({ fd: links.pop()!.fd, readable: true, writable: true });
  const [heard] = (await once(link, 'data')) as [Buffer];
  t.is(heard.toString(), 'hello link');
  link.destroy();
});

test('another key is refused before anything else is said', async (t) => {
  const { address, offers, refused } = await listening(t, KEY);
  const error = await t.throwsAsync(connectStandby({ address, security: OTHER_KEY, offer: offer() }), {
    instanceOf: KemariError,
  });
  t.is(error.code, 'KEMARI_PEER_KEY');
  t.deepEqual(offers, []);
  t.is(refused.length, 1);
});

test('a side without TLS and one with it do not talk', async (t) => {
  const secured = await listening(t, KEY);
  const plainOffer = connectStandby({ address: secured.address, security: { kind: 'plain' }, offer: offer() });
  t.is((await t.throwsAsync(plainOffer, { instanceOf: KemariError })).code, 'KEMARI_PEER_PROTOCOL');
  const open = await listening(t, { kind: 'plain' });
  const securedOffer = connectStandby({ address: open.address, security: KEY, offer: offer() });
  t.is((await t.throwsAsync(securedOffer, { instanceOf: KemariError })).code, 'KEMARI_PEER_KEY');
  t.deepEqual([...secured.offers, ...open.offers], []);
});

test('without TLS on both sides an offer is accepted', async (t) => {
  const { address, offers } = await listening(t, { kind: 'plain' });
  const { streamFd, leaseFd } = await connectStandby({ address, security: { kind: 'plain' }, offer: offer() });
  t.is(offers.length, 1);
  for (const fd of [streamFd, leaseFd]) new Socket({ fd }).destroy();
});

test('a refusal reaches the primary with its code and words, and progress before it', async (t) => {
  const { address } = await listening(t, KEY, {
    offer: (_, session) => {
      session.progress('starting QEMU');
      return Promise.reject(new KemariError('KEMARI_NET_NO_BRIDGE', 'no bridge xenbr0 here'));
    },
  });
  const steps: string[] = [];
  const onProgress = (text: string): void => void steps.push(text);
  const error = await t.throwsAsync(connectStandby({ address, security: KEY, offer: offer(), onProgress }), {
    instanceOf: KemariError,
  });
  t.is(error.code, 'KEMARI_NET_NO_BRIDGE');
  t.is(error.message, 'no bridge xenbr0 here');
  t.deepEqual(steps, ['starting QEMU']);
});

test('another version of the protocol is refused with both versions named', async (t) => {
  const { address, offers } = await listening(t, KEY);
  const request = { type: 'protect', protocol: PROTOCOL_VERSION + 1, offer: offer() };
  const answer = await exchange({ address, security: KEY, timeoutMs: 5_000 }, request, (value) => value);
  const { error } = answer as { error: { code: string; message: string } };
  t.is(error.code, 'KEMARI_HANDSHAKE_PROTOCOL');
  const versions = `version ${PROTOCOL_VERSION + 1} of kemari's protocol, this host ${PROTOCOL_VERSION}`;
  t.true(error.message.includes(versions), error.message);
  t.deepEqual(offers, []);
});

test('an offer with a key of the wrong kind is refused by the name of the key', async (t) => {
  const { address, offers } = await listening(t, KEY);
  const bad: readonly (readonly [object, RegExp])[] = [
    [{ ...offer(), leaseMs: 500 }, /offer\.leaseMs: found 500, expected an integer from 1 to 499/],
    [{ ...offer(), config: { ...offer().config, name: '../../etc' } }, /offer\.config\.name/],
    [{ ...offer(), config: { ...offer().config, memoryBytes: -1 } }, /offer\.config\.memoryBytes/],
    [{ ...offer(), disks: [] }, /an entry for each disk/],
    [{ ...offer(), machine: null }, /offer\.machine/],
  ];
  for (const [made, message] of bad) {
    const error = await t.throwsAsync(connectStandby({ address, security: KEY, offer: made as never }), {
      instanceOf: KemariError,
    });
    t.is(error.code, 'KEMARI_PEER_PROTOCOL');
    t.regex(error.message, message);
  }
  t.deepEqual(offers, []);
});

test('a peer that hangs up while its offer is looked into is noticed', async (t) => {
  const abort = new AbortController();
  const { address } = await listening(t, KEY, {
    offer: async (_, { signal }) => {
      abort.abort();
      await once(signal, 'abort');
      t.pass();
      throw new Error('nobody hears it');
    },
  });
  const attempt = connectStandby({ address, security: KEY, offer: offer(), signal: abort.signal });
  t.is((await t.throwsAsync(attempt, { instanceOf: KemariError })).code, 'KEMARI_INTERRUPTED');
});

test('only the two exact words are knowledge of a process', async (t) => {
  for (const answer of ['runs', 'gone'] as const) {
    const { address } = await listening(t, KEY, { alive: () => Promise.resolve({ answer, reason: '' }) });
    const question = { domainUuid: 'u', instance: INSTANCE, generation: 0 };
    t.deepEqual(await queryPeer({ address, security: KEY, question, timeoutMs: 2_000 }), { answer });
  }
  const { address } = await listening(t, KEY, {
    alive: () => Promise.resolve({ answer: 'unknown', reason: 'another host' }),
  });
  const asked = { question: { domainUuid: 'u', instance: INSTANCE, generation: 0 }, timeoutMs: 2_000 };
  const answers = await Promise.all([
    queryPeer({ address, security: KEY, ...asked }),
    queryPeer({ address, security: OTHER_KEY, ...asked }),
    queryPeer({ address: { host: '127.0.0.1', port: 1 }, security: KEY, ...asked }),
  ]);
  t.deepEqual(
    answers.map(({ answer }) => answer),
    ['unreachable', 'unreachable', 'unreachable'],
  );
});

test('an impostor without the key learns nothing and cannot answer', async (t) => {
  const { address, offers } = await listening(t, OTHER_KEY);
  const asked = { question: { domainUuid: 'u', instance: INSTANCE, generation: 0 }, timeoutMs: 2_000 };
  t.is((await queryPeer({ address, security: KEY, ...asked })).answer, 'unreachable');
  t.deepEqual(offers, []);
});

test('a stranger is told nothing', async (t) => {
  const { address } = await listening(t, KEY);
  const socket = await knock(t, address.port);
  const heard = hearOut(socket);
  socket.write('GET / HTTP/1.1\r\nHost: kemari\r\n\r\n');
  t.is((await heard).length, 0);
  const control = await knock(t, address.port);
  const alert = hearOut(control);
  control.write(encodePreamble({ kind: 'control', token: NO_TOKEN }));
  control.write('{"type":"protect"}\n');
  // A TLS alert, and nothing of ours.
  t.true((await alert).length <= 7);
});
