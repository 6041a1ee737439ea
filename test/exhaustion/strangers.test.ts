import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { readKey } from '../../src/host/key-file.js';
import { CONNECTION_LIMIT } from '../../src/wire/connection-budget.js';
import { encodePreamble, NO_TOKEN } from '../../src/wire/preamble.js';
import { REFUSALS_SPAN_MS, REFUSALS_TOLD } from '../../src/wire/refusals.js';
import { CONTROL_IDENTITY, TLS_OPTIONS } from '../../src/wire/secure.js';
import { PREAMBLE_TIMEOUT_MS, REQUEST_TIMEOUT_MS, TLS_TIMEOUT_MS } from '../../src/wire/server.js';
import { makeNetwork, Subject } from '../capture/subject.js';
import { PlayedPrimary, StandbyHost } from '../commands/restore/played-primary.js';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { processUse } from '../fixtures/process-use.js';

const TEST_TIMEOUT_MS = 240_000;
const ATTEMPTS = 10_000;
const AT_A_TIME = 500;
const ADDRESSES = 250;
/** Of memory of its own that kemarid may take more while it is besieged: places, their buffers, TLS. */
const MORE_MIB = 128;
/** Descriptors beside its own: one a place, one more while it changes hands, and those the kernel has accepted meanwhile. */
const MORE_FDS = 2 * CONNECTION_LIMIT + AT_A_TIME;
/** Longer than all the steps of a handshake together. */
const PATIENCE_MS = 3 * (PREAMBLE_TIMEOUT_MS + TLS_TIMEOUT_MS + REQUEST_TIMEOUT_MS);

/** So seldom that a step's time is over before its bytes are. */
const DRIP_MS = 250;

const CONTROL = encodePreamble({ kind: 'control', token: NO_TOKEN });
/** The head of a TLS record of 16 KiB that holds a hello of almost as much (RFC 8446, sections 5.1 and 4). */
const LONG_HELLO = Buffer.from([0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]);

/** What a stranger says before it waits. */
const OPENINGS: readonly Buffer[] = [
  Buffer.alloc(0),
  CONTROL.subarray(0, 12),
  CONTROL,
  Buffer.concat([CONTROL, LONG_HELLO]),
  Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  encodePreamble({ kind: 'stream', token: 'ab'.repeat(16) }),
];

test.before(() => {
  if (GUEST_MISSING === undefined) makeNetwork();
});

function knock(host: StandbyHost, from: string): Socket {
  const socket = connect({ ...host.address, localAddress: from });
  socket.on('error', () => undefined);
  socket.resume();
  return socket;
}

/** Knocks ATTEMPTS times, AT_A_TIME at once, from ADDRESSES addresses; returns what kemarid took at most. */
async function besiege(host: StandbyHost): Promise<{ anonMib: number; fds: number }> {
  let [anonMib, fds] = [0, 0];
  for (let first = 0; first < ATTEMPTS; first += AT_A_TIME) {
    const sockets = Array.from({ length: AT_A_TIME }, (_, index) => {
      const socket = knock(host, `127.1.0.${2 + ((first + index) % ADDRESSES)}`);
      socket.on('connect', () => socket.write(OPENINGS[(first + index) % OPENINGS.length]!));
      return socket;
    });
    await Promise.all(sockets.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])));
    const use = processUse(host.pid);
    anonMib = Math.max(anonMib, use.anonKib / 1024);
    fds = Math.max(fds, use.fds);
    for (const socket of sockets) socket.destroy();
  }
  return { anonMib, fds };
}

longGuestTest(
  `${ATTEMPTS} strangers cost kemarid bounded memory, keep no primary out, and disturb none that is protected${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const host = await StandbyHost.start(t);
    const subject = await Subject.create();
    t.teardown(() => subject.close());
    const primary = new PlayedPrimary(subject, host);
    t.teardown(() => primary.die());
    const before = processUse(host.pid);
    let besieged = true as boolean;
    const siege = besiege(host).finally(() => {
      besieged = false;
    });
    // In the middle of it a primary offers its domain, is accepted, and goes on from epoch to epoch.
    await primary.connect(await primary.offer());
    let epochs = 0n;
    while (besieged || epochs < 20n) await primary.epoch((epochs += 1n));
    const most = await siege;
    t.true(epochs >= 20n);
    t.deepEqual(
      primary.events.filter(({ type }) => type === 'lost'),
      [],
    );
    t.like((await host.info()).standby, { phase: 'ready', epoch: Number(epochs), known: 'alive' });
    const moreMib = most.anonMib - before.anonKib / 1024;
    t.log(
      `at most ${moreMib.toFixed(0)} MiB and ${most.fds - before.fds} descriptors more, ${epochs} epochs meanwhile`,
    );
    t.true(moreMib < MORE_MIB, `${moreMib} MiB more`);
    t.true(most.fds - before.fds <= MORE_FDS, `${most.fds} descriptors`);
    const settled = (): boolean => processUse(host.pid).fds <= before.fds + 2;
    t.true(await waitUntil(settled, { timeoutMs: PATIENCE_MS }), readdirSync(`/proc/${host.pid}/fd`).join(' '));
    const counted = (): boolean => host.said.some((line) => line.includes('more connections were turned away'));
    t.true(await waitUntil(counted, { timeoutMs: 2 * REFUSALS_SPAN_MS }), 'who was not named was counted');
    const spans = 1 + PATIENCE_MS / REFUSALS_SPAN_MS + 6;
    t.true(host.said.filter((line) => line.includes('"refused"')).length <= spans * (REFUSALS_TOLD + 1));
  },
);

/** Writes a byte now and then until the other side has closed; returns how long that took. */
async function drip(socket: { write(bytes: Buffer): void; once: Socket['once']; closed: boolean }): Promise<number> {
  const startedAtMs = performance.now();
  const timer = setInterval(() => {
    socket.write(Buffer.from('{'));
  }, DRIP_MS);
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  return performance.now() - startedAtMs;
}

async function stranger(t: ExecutionContext, host: StandbyHost, opening: Buffer): Promise<Socket> {
  const socket = knock(host, '127.0.0.1');
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  if (opening.length > 0) socket.write(opening);
  return socket;
}

longGuestTest(`who says something again and again, and never enough, is closed at every step${missing}`, async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const host = await StandbyHost.start(t);
  const before = processUse(host.pid).fds;
  const withKey = async () => {
    const secure = connectTls({
      ...TLS_OPTIONS,
      socket: await stranger(t, host, CONTROL),
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: readKey(host.keyFile), identity: CONTROL_IDENTITY }),
    });
    secure.on('error', () => undefined);
    secure.resume();
    await once(secure, 'secureConnect');
    return secure;
  };
  const steps: Readonly<Record<string, Promise<number>>> = {
    'the preamble': drip(await stranger(t, host, CONTROL.subarray(0, 3))),
    'the hello': drip(await stranger(t, host, Buffer.concat([CONTROL, LONG_HELLO]))),
    'the request, with the key': drip(await withKey()),
  };
  for (const [step, closed] of Object.entries(steps)) {
    const tookMs = await closed;
    t.log(`${step}: closed after ${(tookMs / 1000).toFixed(1)} s`);
    t.true(tookMs < PATIENCE_MS);
  }
  t.true(await waitUntil(() => processUse(host.pid).fds <= before, { timeoutMs: PATIENCE_MS }));
});
