import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { info } from '../../src/commands/info.js';
import { migrate } from '../../src/commands/migrate.js';
import { resumeUnprotected } from '../../src/commands/resume.js';
import { unprotect } from '../../src/commands/unprotect.js';
import type { ProtectionInfo } from '../../src/host/contract.js';
import { makeKey, readKey } from '../../src/host/key-file.js';
import { hostPaths, logPath } from '../../src/host/paths.js';
import { DEFAULT_PROTECTION } from '../../src/model/protection.js';
import { makeNetwork } from '../capture/subject.js';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { Guest } from '../fixtures/guest.js';
import { processUse } from '../fixtures/process-use.js';
import { RECORD } from '../link/records.js';
import { HostileStandby, type Manners } from './hostile-standby.js';
import { OWN_NETWORK } from './own-network.js';

const TEST_TIMEOUT_MS = 240_000;
const PATIENCE_MS = 60_000;
const MEMORY_MIB = 128;
/** Of kemari-dm's own: the deltas' cache, checkpoints that wait, buffers of the connections. */
const MORE_MIB = 192;
/** How long the guest is asked in vain for something that may not leave. */
const SILENCE_MS = 1_000;
/** The standby is this process, and the machine may be busy: a lease that runs out by itself is no attack. */
const PROTECTION = { ...DEFAULT_PROTECTION, takeoverTimeoutMs: 2_000 };

/** One guest for all: each attack leaves it running, unprotected. */
let guest: Guest;

test.before(async () => {
  if (GUEST_MISSING !== undefined || process.env['KEMARI_LONG'] === undefined) return;
  makeNetwork();
  guest = await Guest.boot({ boot: 'ramdisk', memoryMib: MEMORY_MIB, network: OWN_NETWORK });
  await guest.mustRun('echo kept >/run/kept');
  makeKey(keyFile(), { replace: false });
});

test.after.always(async () => {
  await (guest as Guest | undefined)?.close();
});

function keyFile(): string {
  return join(guest.folder, 'key');
}

function log(): string {
  return readFileSync(logPath(hostPaths(guest.root), guest.name), 'utf8');
}

/** What `kemari info` asks; by the command line itself each of the many questions would cost a process. */
async function state(): Promise<ProtectionInfo['state'] | 'unprotected'> {
  return (await info(guest.root, guest.name)).protection?.state ?? 'unprotected';
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  if (!(await waitUntil(condition, { timeoutMs: PATIENCE_MS }))) throw new Error(`not seen: ${what}\n${log()}`);
}

/** A standby that behaves until it is told not to; the guest runs without it afterwards, also when a test fails. */
async function standbyOf(t: ExecutionContext): Promise<HostileStandby> {
  const standby = await HostileStandby.listen(t, readKey(keyFile()));
  t.teardown(async () => {
    standby.hangUp();
    await waitUntil(async () => (await state()) !== 'protected', { timeoutMs: PATIENCE_MS });
    if ((await state()) !== 'unprotected') await resumeUnprotected(guest.root, guest.name);
  });
  return standby;
}

/** Lets this standby protect the guest. Errors: what `kemari migrate` says; one with a text where it ended at once. */
async function protect({ address }: HostileStandby): Promise<void> {
  const { outcome, text } = await migrate(guest.root, guest.name, {
    ...{ address, key: keyFile(), plain: false, detach: true, signal: new AbortController().signal },
    protection: PROTECTION,
    onEvent: () => undefined,
  });
  if (outcome !== 'detached') throw new Error(text);
}

async function keepsItsState(t: ExecutionContext): Promise<void> {
  t.is(await state(), 'unprotected');
  t.is(await guest.mustRun('cat /run/kept'), 'kept\n');
  t.notRegex(log(), /KEMARI_INTERNAL|SIGSEGV|Assertion|"level":60/);
}

/** Frames that the guest's interface has let out. */
function framesOut(): number {
  return Number(/vif\d+\.0:\s*\d+\s+(\d+)/.exec(readFileSync('/proc/self/net/dev', 'latin1'))?.[1] ?? NaN);
}

/** The guest is asked, and nothing of an answer leaves it. */
async function saysNothing(t: ExecutionContext): Promise<void> {
  const before = framesOut();
  t.true(before > 0);
  await t.throwsAsync(guest.run('echo heard', SILENCE_MS), { message: /does not answer/ });
  t.is(framesOut(), before, 'a frame left');
}

interface Attack {
  readonly claim: string;
  /** In the log, or in what `migrate` says. */
  readonly code: RegExp;
  readonly manners: Manners;
}

/** Says this at the next COMMIT, and nothing any more. */
function atCommit(say: NonNullable<Manners['commit']>): Manners {
  let said = false;
  return {
    commit: (epoch, link) => {
      if (!said) say(epoch, link);
      said = true;
    },
  };
}

/** Says this at the next renewal of the lease, and nothing there any more; epochs are acknowledged. */
function atRenewal(say: NonNullable<Manners['renewal']>): Manners {
  let said = false;
  return {
    renewal: (number, lease) => {
      if (!said) say(number, lease);
      said = true;
    },
  };
}

const ATTACKS: readonly Attack[] = [
  {
    claim: 'acknowledges an epoch of the future',
    code: /KEMARI_LINK_PROTOCOL.*acknowledged epoch/,
    manners: atCommit((epoch, link) => {
      link.ack(epoch + 1n);
    }),
  },
  {
    claim: 'acknowledges the last epoch that a number can name',
    code: /KEMARI_LINK_PROTOCOL.*acknowledged epoch 18446744073709551615/,
    manners: atCommit((_, link) => {
      link.ack(2n ** 64n - 1n);
    }),
  },
  {
    claim: 'acknowledges an epoch of the past',
    code: /KEMARI_LINK_PROTOCOL.*acknowledged epoch 1,/,
    manners: atCommit((_, link) => {
      link.ack(1n);
    }),
  },
  {
    claim: 'acknowledges an epoch twice',
    code: /KEMARI_LINK_PROTOCOL.*acknowledged epoch/,
    manners: atCommit((epoch, link) => {
      link.ack(epoch);
      link.ack(epoch);
    }),
  },
  {
    claim: 'sends what is no record',
    code: /KEMARI_LINK_PROTOCOL.*magic/,
    manners: atCommit((_, link) => void link.socket.write(Buffer.alloc(4096, 0x5a))),
  },
  {
    claim: 'announces a record of 4 GiB',
    code: /KEMARI_LINK_PROTOCOL.*4294967295 bytes/,
    manners: atCommit((_, link) => {
      link.record(RECORD.WORD, 0n, Buffer.alloc(0), { length: 0xffff_ffff });
    }),
  },
  {
    claim: 'hangs up in the place of an ack',
    code: /KEMARI_LINK_(CLOSED|SOCKET|TLS)/,
    manners: atCommit((_, link) => void link.socket.destroy()),
  },
  {
    claim: 'grants a renewal of the lease that was never asked for',
    code: /the lease ran out/,
    manners: atRenewal((_, lease) => {
      lease.answer(2n ** 63n);
    }),
  },
  {
    claim: 'grants a renewal of the lease twice, and an old one again',
    code: /the lease ran out/,
    manners: atRenewal((number, lease) => {
      lease.answer(number);
      for (let again = 0; again < 20; again++) lease.answer(number);
      lease.answer(1n);
    }),
  },
];

for (const { claim, code, manners } of ATTACKS) {
  longGuestTest(
    `a standby with the key that ${claim} is believed nothing: the guest says no word more until it is known dead${missing}`,
    async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      const standby = await standbyOf(t);
      await protect(standby);
      t.is(await guest.mustRun('echo heard'), 'heard\n');
      const before = log().length;
      standby.manners = manners;
      standby.misbehaves = true;
      await until('silence, and why', async () => {
        return standby.misdeeds > 0 && (await state()) === 'silent' && code.test(log().slice(before));
      });
      await saysNothing(t);
      standby.peer = 'gone';
      await until('the end of protection', async () => (await state()) === 'unprotected');
      t.regex(log().slice(before), /runs unprotected: the standby's process is confirmed dead/);
      await keepsItsState(t);
    },
  );
}

/** Writes more than may wait for a standby, again and again, until it is told to stop. */
const WRITER =
  '(while [ ! -e /run/stop ]; do dd if=/dev/urandom of=/run/fill bs=1M count=40; done) </dev/null >/dev/null 2>&1 &';

/** Protected, with a writer in the guest, by a standby that then behaves so: memory stays bounded. */
async function neverAcknowledged(t: ExecutionContext, manner: NonNullable<Manners['commit']>): Promise<HostileStandby> {
  const standby = await standbyOf(t);
  await protect(standby);
  await guest.mustRun(`rm -f /run/stop; ${WRITER}`);
  const { dmPid } = await info(guest.root, guest.name);
  const beforeKib = processUse(dmPid).anonKib;
  const before = log().length;
  standby.manners = { commit: manner };
  standby.misbehaves = true;
  let mostKib = beforeKib;
  await until('a warning', () => {
    mostKib = Math.max(mostKib, processUse(dmPid).anonKib);
    return /has acknowledged nothing for \d+ s/.test(log().slice(before));
  });
  await until('it is protected still', async () => (await state()) === 'protected');
  await saysNothing(t);
  const moreMib = (mostKib - beforeKib) / 1024;
  t.log(`at most ${moreMib.toFixed(0)} MiB more`);
  t.true(moreMib < MORE_MIB, `${moreMib} MiB more`);
  return standby;
}

async function goesOn(t: ExecutionContext): Promise<void> {
  await keepsItsState(t);
  await guest.mustRun('touch /run/stop; rm -f /run/fill');
}

longGuestTest(
  `a standby that grants the lease and acknowledges nothing is complained of, holds the guest, and can be left${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    await neverAcknowledged(t, () => undefined);
    await t.throwsAsync(unprotect(guest.root, guest.name), { code: 'KEMARI_PEER_SILENT' });
    await saysNothing(t);
    await resumeUnprotected(guest.root, guest.name);
    await goesOn(t);
  },
);

longGuestTest(
  `a standby that grants the lease and reads nothing any more takes bounded memory${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const standby = await neverAcknowledged(t, (_, link) => void link.socket.pause());
    standby.peer = 'gone';
    standby.hangUp();
    await until('the end of protection', async () => (await state()) === 'unprotected');
    await goesOn(t);
  },
);

/** What a standby does before the first epoch, and what `migrate` then says. */
const REFUSALS: readonly Attack[] = [
  {
    claim: 'hangs up in the place of TLS',
    code: /KEMARI_PEER_KEY/,
    manners: { greet: hangUpOn('control') },
  },
  {
    claim: 'speaks what TLS is not',
    code: /KEMARI_PEER_KEY/,
    manners: { greet: speakOn('control') },
  },
  {
    claim: 'hangs up on an offer',
    code: /KEMARI_PEER_PROTOCOL/,
    manners: { answer: (channel) => void channel.end() },
  },
  {
    claim: 'accepts by half',
    code: /KEMARI_PEER_PROTOCOL/,
    manners: {
      answer: (channel, accept) => void channel.end(JSON.stringify({ type: 'accept', accept }).slice(0, 100)),
    },
  },
  {
    claim: 'answers without end',
    code: /KEMARI_PEER_PROTOCOL.*longer than/,
    manners: { answer: (channel) => void channel.write(Buffer.alloc(1 << 20, 0x20)) },
  },
  {
    claim: 'accepts with a token that is none',
    code: /KEMARI_PEER_PROTOCOL.*token/,
    manners: { answer: acceptingWith({ token: 'ffff' }) },
  },
  {
    claim: 'has more addresses than any host',
    code: /KEMARI_PEER_PROTOCOL.*addresses/,
    manners: { answer: acceptingWith({ addresses: Array(1000).fill({ host: '127.0.0.1', port: 1 }) }) },
  },
  {
    claim: 'hangs up on the stream',
    code: /KEMARI_LINK_(CLOSED|SOCKET|TLS)/,
    manners: { greet: hangUpOn('stream') },
  },
  {
    claim: 'speaks what TLS is not on the stream',
    code: /KEMARI_LINK_TLS/,
    manners: { greet: speakOn('stream') },
  },
  {
    claim: 'leaves the TLS of the lease half done',
    code: /KEMARI_LINK_TIMEOUT/,
    manners: { greet: (kind) => kind === 'lease' },
  },
];

function hangUpOn(kind: string): NonNullable<Manners['greet']> {
  return (of, socket) => {
    if (of === kind) socket.destroy();
    return of === kind;
  };
}

function speakOn(kind: string): NonNullable<Manners['greet']> {
  return (of, socket) => {
    if (of === kind) socket.write(randomBytes(4096));
    return of === kind;
  };
}

function acceptingWith(change: object): (channel: Socket, accept: object) => void {
  return (channel, accept) => {
    channel.end(`${JSON.stringify({ type: 'accept', accept: { ...accept, ...change } })}\n`);
  };
}

for (const { claim, code, manners } of REFUSALS) {
  longGuestTest(
    `a standby with the key that ${claim} is refused, and the guest hears nothing of it${missing}`,
    async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      const standby = await HostileStandby.listen(t, readKey(keyFile()));
      standby.manners = manners;
      const error = await t.throwsAsync<Error & { code: string }>(protect(standby));
      t.regex(`${error.code}: ${error.message}`, code);
      await keepsItsState(t);
    },
  );
}
