import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { CONNECTION_LIMIT, CONNECTION_LIMIT_PER_ADDRESS } from '../../src/wire/connection-budget.js';
import { exchange, MESSAGE_LIMIT_BYTES } from '../../src/wire/control-connection.js';
import { queryPeer } from '../../src/wire/query.js';
import { encodePreamble, NO_TOKEN } from '../../src/wire/preamble.js';
import { PREAMBLE_TIMEOUT_MS, TLS_TIMEOUT_MS } from '../../src/wire/server.js';
import { INSTANCE, KEY, hearOut, knock, listening } from './testing.js';

const CONTROL = encodePreamble({ kind: 'control', token: NO_TOKEN });
const QUESTION = { question: { domainUuid: 'u', instance: INSTANCE, generation: 0 }, timeoutMs: 5_000 };

/** Longer than any of the limits of a handshake. */
const PATIENCE_MS = 2 * (PREAMBLE_TIMEOUT_MS + TLS_TIMEOUT_MS);

test('a port scan, and connections that end at any byte, leave nothing', async (t) => {
  const { server, address } = await listening(t, KEY);
  for (let length = 0; length <= CONTROL.length; length++) {
    const socket = await knock(t, address.port);
    socket.write(CONTROL.subarray(0, length));
    socket.end();
    await hearOut(socket);
  }
  t.is(server.strangers, 0);
  t.is((await queryPeer({ address, security: KEY, ...QUESTION })).answer, 'runs');
});

test('garbage of any kind is closed, and the next client is served', async (t) => {
  const { server, address, offers, links } = await listening(t, KEY);
  const kinds = [0, 4, 255].map((octet) =>
    Buffer.concat([CONTROL.subarray(0, 8), Buffer.of(octet), CONTROL.subarray(9)]),
  );
  const samples = [
    ...kinds,
    Buffer.concat([CONTROL.subarray(0, 9), Buffer.alloc(16, 1)]),
    Buffer.alloc(4096, 0xff),
    Buffer.concat([CONTROL, Buffer.alloc(70_000, 0x16)]),
    Buffer.concat([CONTROL, Buffer.from([0x16, 3, 1, 0xff, 0xff])]),
  ];
  for (const bytes of samples) {
    const socket = await knock(t, address.port);
    const heard = hearOut(socket);
    socket.end(bytes);
    await heard;
  }
  t.deepEqual([offers.length, links.length], [0, 0]);
  t.true(await waitUntil(() => server.strangers === 0, { timeoutMs: PATIENCE_MS }));
  t.is((await queryPeer({ address, security: KEY, ...QUESTION })).answer, 'runs');
});

test('who dawdles is closed: before the preamble, in it, in TLS', async (t) => {
  const { server, address } = await listening(t, KEY);
  const silent = await knock(t, address.port);
  const slow = await knock(t, address.port);
  const half = await knock(t, address.port);
  half.write(CONTROL);
  let sent = 0;
  // A slow loris: something arrives again and again, and never enough.
  const drip = setInterval(() => {
    if (sent < CONTROL.length - 1) slow.write(CONTROL.subarray(sent, ++sent));
  }, 200);
  t.teardown(() => {
    clearInterval(drip);
  });
  await Promise.all([hearOut(silent), hearOut(slow), hearOut(half)]);
  t.true(await waitUntil(() => server.strangers === 0, { timeoutMs: PATIENCE_MS }));
});

test('a message beyond the limit ends its connection', async (t) => {
  const { address, offers } = await listening(t, KEY);
  const huge = { type: 'protect', protocol: 1, offer: 'x'.repeat(MESSAGE_LIMIT_BYTES) };
  await t.throwsAsync(
    exchange({ address, security: KEY, timeoutMs: 5_000 }, huge, (answer) => answer),
    {
      message: /hung up|reset|EPIPE/i,
    },
  );
  t.deepEqual(offers, []);
});

test('1000 connections of one address cannot keep another out, nor take memory', async (t) => {
  const { server, address } = await listening(t, KEY);
  const before = process.memoryUsage().rss;
  const sockets: Socket[] = [];
  let closed = 0;
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let count = 0; count < 1000; count++) {
    const socket = connect({ ...address, localAddress: '127.0.0.2' });
    socket.on('error', () => undefined);
    socket.on('close', () => closed++);
    socket.resume();
    sockets.push(socket);
    if (count % 50 === 49) await once(socket, 'connect').catch(() => undefined);
  }
  t.true(await waitUntil(() => closed >= 1000 - CONNECTION_LIMIT_PER_ADDRESS, { timeoutMs: 20_000 }));
  t.true(server.strangers <= CONNECTION_LIMIT_PER_ADDRESS);
  t.is((await queryPeer({ address, security: KEY, ...QUESTION })).answer, 'runs');
  t.true(process.memoryUsage().rss - before < 100 << 20);
  t.true(await waitUntil(() => server.strangers === 0, { timeoutMs: PATIENCE_MS }));
});

test('no more connections than the limit are held, of however many addresses', async (t) => {
  const { server, address } = await listening(t, KEY);
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let host = 2; host < 2 + 2 * (CONNECTION_LIMIT / CONNECTION_LIMIT_PER_ADDRESS); host++) {
    for (let count = 0; count < CONNECTION_LIMIT_PER_ADDRESS; count++) {
      const socket = connect({ ...address, localAddress: `127.0.0.${host}` });
      socket.on('error', () => undefined);
      sockets.push(socket);
      if (count === CONNECTION_LIMIT_PER_ADDRESS - 1) await once(socket, 'connect').catch(() => undefined);
    }
  }
  t.true(server.strangers <= CONNECTION_LIMIT);
  t.true(await waitUntil(() => server.strangers === 0, { timeoutMs: PATIENCE_MS }));
  t.is((await queryPeer({ address, security: KEY, ...QUESTION })).answer, 'runs');
});
