import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.js';
import { DEMO_IMAGE } from '../stage/demo-image.js';
import { HOST_NAMES, otherHost, type HostName } from '../stage/names.js';
import { StagedGuest } from '../stage/staged-guest.js';
import { killHost, revive, type Onlookers } from '../stage/takeover-seen.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import { nowMs } from '../stage/wall-clock.js';
import { Witness } from '../stage/witness.js';
import type { Ledger } from './ledger.js';
import { onStage } from './on-stage.js';
import { Progress } from './progress.js';
import type { Undo } from './undo.js';

/** How a standby comes to take over. */
export interface FailoverWay {
  /** For people. */
  readonly title: string;
  /** Of `kemari migrate`. */
  readonly options: readonly string[];
  /** Whether somebody sends SIGHUP to the standby as soon as the host is dead. */
  readonly isTold: boolean;
}

const auto = (timeoutMs: number): FailoverWay => ({
  title: `by itself, after ${timeoutMs} ms of silence`,
  options: ['--failover', 'auto', '--takeover-timeout', String(timeoutMs)],
  isTold: false,
});

export const FAILOVER_WAYS: Readonly<Record<string, FailoverWay>> = {
  sighup: { title: 'told at once (SIGHUP)', options: ['--failover', 'manual'], isTold: true },
  'auto-500': auto(500),
  'auto-1000': auto(1000),
  'auto-2000': auto(2000),
};

export interface FailoverRunOptions {
  /** Of each way. */
  readonly failovers: number;
  /** Of the guest. */
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly signal: AbortSignal;
}

interface Turn {
  readonly way: string;
  readonly repeat: number;
}

const MACHINE = 'q35';
/** Of the client, which counts what it waits: a message every 10 ms. */
const ANSWERS_BEFORE = 50;
/** The moment of death: so long after that, at random. */
const DIES_WITHIN_MS = 500;
/** Silences of the client since so long before the kill are looked at. */
const TALK_MS = 1000;

/**
 * Kills one host after the other, as often as the ledger lacks it, each way in turn: what a client with one connection
 * saw of it. Ends with the first failure, which is in the ledger too; returns at once when aborted.
 */
export async function runFailovers(ledger: Ledger, options: FailoverRunOptions): Promise<void> {
  const turns = Array.from({ length: options.failovers }, (_, repeat) =>
    Object.keys(FAILOVER_WAYS).map((way) => ({ way, repeat })),
  )
    .flat()
    .filter(({ way, repeat }) => !ledger.hasFailover(way, repeat));
  if (turns.length === 0 || options.signal.aborted) return;
  await onStage(options.signal, (stage, undo) => kill(stage, turns, ledger, options, undo));
}

async function kill(
  stage: TwoHosts,
  turns: readonly Turn[],
  ledger: Ledger,
  { memoryMib, vcpus, signal }: FailoverRunOptions,
  undo: Undo,
): Promise<void> {
  const isAborted = (): boolean => signal.aborted;
  const progress = new Progress(turns.length);
  progress.say('a guest boots, whose hosts will die');
  const witness = await Witness.start(stage.machines.switch);
  undo.defer('the witness', () => witness.stop());
  const guest = await StagedGuest.boot(stage, { image: DEMO_IMAGE, machine: MACHINE, memoryMib, vcpus });
  for (const host of HOST_NAMES) await guest.startDaemon(host);
  const conversation = await guest.converse();
  undo.defer('the client', () => conversation.kill());
  let host: HostName = 'A';
  for (const { way, repeat } of turns) {
    if (isAborted()) return;
    progress.step(`${FAILOVER_WAYS[way]?.title ?? way}, repeat ${repeat + 1}`);
    try {
      ledger.add({ type: 'failover', way, repeat, ...(await failOver({ guest, witness, conversation }, host, way)) });
      host = otherHost(host);
      await revive({ guest }, otherHost(host));
    } catch (error) {
      if (isAborted()) return;
      const failure = messageOf(error);
      progress.say(`failed, and the failovers end here: ${failure}`);
      ledger.add({ type: 'failover', way, repeat, failure });
      return;
    }
  }
}

async function failOver(
  onlookers: Onlookers,
  host: HostName,
  way: string,
): Promise<{ readonly gapMs: number; readonly firstFrameMs: number }> {
  const { guest, conversation } = onlookers;
  const { options = [], isTold = false } = FAILOVER_WAYS[way] ?? {};
  await guest.protect(host, ...options);
  await conversation.untilAnswered(ANSWERS_BEFORE);
  const { dmPid } = await guest.info(otherHost(host));
  await delay(Math.random() * DIES_WITHIN_MS);
  const sinceMs = nowMs() - TALK_MS;
  const { firstFrameMs } = await killHost(onlookers, host, () => isTold && process.kill(dmPid, 'SIGHUP'));
  return { gapMs: conversation.longestGapMs(sinceMs), firstFrameMs };
}
