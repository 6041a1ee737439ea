import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '../base/deadline.js';
import type { Conversation } from './conversation.js';
import type { ConversationReport } from './conversation-log.js';
import { checkFileSystem, readFromImage } from './disk-check.js';
import { auditLedger, LEDGER_FILE } from './ledger-line.js';
import { HOST_NAMES } from './names.js';
import type { Report } from './report.js';
import { GUEST_ADDRESS, GUEST_MAC, StagedGuest, type StagedGuestOptions } from './staged-guest.js';
import { untilSpeaks } from './takeover-seen.js';
import type { TwoHosts } from './two-hosts.js';
import { Witness } from './witness.js';

export interface FailoverOptions extends StagedGuestOptions {
  readonly takeoverTimeoutMs: number;
  /** How long after the client's first messages host A dies: its random moment. */
  readonly killAfterMs: number;
  /** More options of `kemari migrate`. */
  readonly migrateOptions?: readonly string[];
}

/** What was measured; times in milliseconds, those after the kill counted from its first signal. */
export interface FailoverFigures {
  readonly bootMs: number;
  readonly protectMs: number;
  readonly epochsBefore: string;
  readonly pauseP50Us: number | undefined;
  readonly firstFrameMs: number;
  /** When a switch first heard of the guest's new place. */
  readonly announcedMs: number | undefined;
  readonly nextByteMs: number;
  /** From one answer to the next, at the client, at most. */
  readonly clientGapMs: number;
  readonly messages: number;
  readonly acknowledgedWrites: number;
}

/** Messages before the moment of death is waited for, and after the takeover. */
const MESSAGES_BEFORE = 100;
const MESSAGES_AFTER = 200;

/** Bounds a failure. */
const NEXT_BYTE_TIMEOUT_MS = 60_000;
const CATCH_UP_TIMEOUT_MS = 90_000;

/** Before the kill: silences since then are looked at. */
const TALK_MS = 30_000;

/** Of host B's log: what is shown of the takeover. */
const SHOWN_LOG_LINES = 14;

/**
 * A host dies and the other one carries its guest on; a client, a witness at the switch and storage say what they saw.
 * Everything is told to the report; the stage stays up.
 *
 * Errors: `KEMARI_STAGE` and kemari's own, where it cannot go on.
 */
export async function failover(stage: TwoHosts, options: FailoverOptions, report: Report): Promise<FailoverFigures> {
  const witness = await Witness.start(stage.machines.switch);
  report.step('host A boots a guest; its disk is on the storage host, its NIC on the client network');
  const startedAt = performance.now();
  const guest = await report.during('the guest boots', StagedGuest.boot(stage, options));
  const bootMs = performance.now() - startedAt;
  report.quote(await guest.kemari('A', 'list'));
  const { qemuVersion, accel, config } = await guest.info('A');
  const stock = `QEMU ${qemuVersion}, ${accel}, ${config.machine}, vCPUs: ${config.vcpus}`;
  report.claim('a stock QEMU runs it', qemuVersion !== '', stock);

  let conversation: Conversation | undefined;
  try {
    const protectMs = await protectGuest(guest, options, report);
    conversation = await guest.converse();
    const before = await talk(guest, conversation, options, report);
    const killed = await killHost(guest, witness, conversation, report);
    const said = await finishTalk(guest, conversation, killed, report);
    await checkEnd(guest, witness, said, report);
    return {
      ...{ bootMs, protectMs, ...before, ...killed },
      clientGapMs: said.longestGapMs,
      messages: said.answered,
      acknowledgedWrites: said.acknowledged.length,
    };
  } catch (error) {
    for (const host of HOST_NAMES) {
      report.step(`host ${host} logged last`);
      report.quote(lastLines(guest.log(host)));
    }
    throw error;
  } finally {
    await conversation?.kill();
    await witness.stop();
  }
}

async function protectGuest(guest: StagedGuest, options: FailoverOptions, report: Report): Promise<number> {
  const timeout = String(options.takeoverTimeoutMs);
  report.step('host B listens (kemarid); on host A: kemari migrate guest B --kemari --failover auto');
  await guest.startDaemon('A');
  await guest.startDaemon('B');
  const startedAt = performance.now();
  const migrate = ['--failover', 'auto', '--takeover-timeout', timeout, ...(options.migrateOptions ?? [])];
  const said = await report.during('memory is copied', guest.protect('A', ...migrate));
  const protectMs = performance.now() - startedAt;
  if (said !== '') report.quote(said);
  const { protection } = await guest.info('A');
  report.claim(
    'the guest is protected',
    protection?.state === 'protected',
    `${protection?.state ?? 'no'}, after ${protectMs.toFixed(0)} ms`,
  );
  return protectMs;
}

async function talk(
  guest: StagedGuest,
  conversation: Conversation,
  options: FailoverOptions,
  report: Report,
): Promise<{ epochsBefore: string; pauseP50Us: number | undefined }> {
  report.step(`a client at ${GUEST_ADDRESS} sends numbered messages on one connection; one in five is to be on disk`);
  const page = await guest.shell.fetch('/', NEXT_BYTE_TIMEOUT_MS);
  report.claim('the guest serves HTTP', page.includes('kemari'), page.trim().split('\n')[0] ?? '');
  await conversation.untilAnswered(MESSAGES_BEFORE);
  // The random moment itself: nothing announces it.
  await delay(options.killAfterMs);
  const { protection, gate } = await guest.info('A');
  const epochs = protection?.epoch ?? 0n;
  const pauses = protection?.pauseUs.p50;
  report.claim(
    'what leaves the guest is held until host B has what it depends on',
    protection?.state === 'protected' && !gate.open && gate.passed > 0,
    `epochs: ${epochs}, requests let go: ${gate.passed}, pause: ${pauses?.toFixed(0) ?? '?'} us (median)`,
  );
  return { epochsBefore: String(epochs), pauseP50Us: pauses };
}

interface Killed {
  readonly killedAtMs: number;
  readonly firstFrameMs: number;
  readonly announcedMs: number | undefined;
  readonly nextByteMs: number;
}

async function killHost(
  guest: StagedGuest,
  witness: Witness,
  conversation: Conversation,
  report: Report,
): Promise<Killed> {
  const answeredBefore = conversation.answered;
  const killedAtMs = await guest.stage.crash('A');
  report.step(`host A is dead: SIGKILL for all of its processes, cables pulled, after ${answeredBefore} answers`);
  const firstFrameAtMs = await untilSpeaks({ guest, witness, conversation }, 'B', killedAtMs);
  const nextByte = (): number | undefined => conversation.firstAnswerAfter(firstFrameAtMs);
  await waitUntil(() => nextByte() !== undefined, { timeoutMs: NEXT_BYTE_TIMEOUT_MS });
  const firstFrameMs = firstFrameAtMs - killedAtMs;
  const nextByteMs = (nextByte() ?? Infinity) - killedAtMs;
  const announced = witness.announcementsOf(GUEST_MAC, killedAtMs).find(({ host }) => host === 'B')?.atMs;
  report.step('host B has fenced it and carries the guest on; its log says');
  report.quote(lastLines(guest.log('B')));
  report.claim('host B took over by itself', await guest.runsOn('B'), 'kemari info on host B: running');
  report.claim(
    "the guest's first frame is on the client network",
    true,
    `${firstFrameMs.toFixed(0)} ms after the kill`,
  );
  report.claim(
    'the client got its next byte',
    Number.isFinite(nextByteMs),
    `${nextByteMs.toFixed(0)} ms after the kill (TCP retransmits after about 0.2, 0.6, 1.4 s)`,
  );
  const announcedMs = announced === undefined ? undefined : announced - killedAtMs;
  return { killedAtMs, firstFrameMs, announcedMs, nextByteMs };
}

async function finishTalk(
  guest: StagedGuest,
  conversation: Conversation,
  { killedAtMs }: Killed,
  report: Report,
): Promise<ConversationReport> {
  await report.during('the client goes on', conversation.untilAnswered(MESSAGES_AFTER, CATCH_UP_TIMEOUT_MS));
  const page = await guest.shell.fetch('/', NEXT_BYTE_TIMEOUT_MS);
  report.claim('the guest serves HTTP on host B', page.includes('kemari'), page.trim().split('\n')[0] ?? '');
  const gapMs = conversation.longestGapMs(killedAtMs - TALK_MS);
  const said = await conversation.stop(CATCH_UP_TIMEOUT_MS);
  report.claim(
    'the connection is the same',
    said.broken === undefined,
    said.broken ?? `one TCP connection, longest silence ${gapMs.toFixed(0)} ms`,
  );
  report.claim(
    'no message was lost, doubled or out of order',
    said.unanswered === 0 && said.violations.length === 0,
    said.violations[0] ?? `sent: ${said.sent}, answered: ${said.answered}`,
  );
  // Past the page cache: what the disk has, by the guest's own word.
  const ledger = await guest.run(`echo 3 >/proc/sys/vm/drop_caches; cat ${LEDGER_FILE}`);
  claimLedger('the guest reads every acknowledged write back from its disk', ledger, said, report);
  return said;
}

async function checkEnd(guest: StagedGuest, witness: Witness, said: ConversationReport, report: Report): Promise<void> {
  report.step('the guest powers off; its disk is looked at from outside');
  await report.during('the guest powers off', guest.shutdown('B'));
  const unseen = await witness.stop();
  const turns = witness.turnsOf(GUEST_MAC);
  const order = turns.map(({ host }) => host).join(' ');
  report.claim(
    'the switch never heard both hosts speak for the guest',
    order === 'A B' && unseen === 0,
    `turns: ${order}; frames: ${turns.map(({ frames }) => frames).join(', ')}; not seen: ${unseen}`,
  );
  await guest.stage.storage.stop();
  const image = guest.disks[0]?.image ?? '';
  const check = await checkFileSystem(image);
  report.claim('its file system is clean', check.clean, check.said.trim().split('\n').at(-1) ?? '');
  claimLedger(
    'every acknowledged write is on it, once and in order',
    await readFromImage(image, LEDGER_FILE),
    said,
    report,
  );
}

function claimLedger(text: string, ledger: string, said: ConversationReport, report: Report): void {
  const { records, lost, doubled, misplaced, strange } = auditLedger(ledger, said.writes, said.acknowledged);
  const wrong = { lost, doubled, misplaced, strange };
  const counts = Object.entries(wrong).map(([name, lines]) => `${name}: ${lines.length}`);
  const sound = Object.values(wrong).every((lines) => lines.length === 0) && said.acknowledged.length > 0;
  report.claim(text, sound, `acknowledged: ${said.acknowledged.length}, on disk: ${records}, ${counts.join(', ')}`);
}

function lastLines(log: string): string {
  return log.trim().split('\n').slice(-SHOWN_LOG_LINES).join('\n');
}
