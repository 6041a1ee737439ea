import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { Conversation } from './conversation.js';
import { otherHost, type HostName } from './names.js';
import { GUEST_MAC, type StagedGuest } from './staged-guest.js';
import type { Witness } from './witness.js';

/** Who is there to see what a takeover looks like. */
export interface Onlookers {
  readonly guest: StagedGuest;
  readonly witness: Witness;
  readonly conversation: Conversation;
}

/** How a takeover looked from outside, in milliseconds after the first signal of the kill. */
export interface TakeoverSeen {
  readonly firstFrameMs: number;
  readonly nextByteMs: number;
}

/** Bounds a failure; software emulation on a busy machine. */
const TIMEOUT_MS = 60_000;

/**
 * Waits until host `host` speaks for the guest after a time; returns when it first did, in milliseconds of Unix time.
 *
 * Errors: `KEMARI_STAGE` with what the host logged.
 */
export async function untilSpeaks({ witness, guest }: Onlookers, host: HostName, afterMs: number): Promise<number> {
  const first = (): number | undefined =>
    witness.framesOf(GUEST_MAC, afterMs).find((frame) => frame.host === host)?.atMs;
  await waitUntil(() => first() !== undefined, { timeoutMs: TIMEOUT_MS });
  const atMs = first();
  if (atMs !== undefined) return atMs;
  throw new KemariError('KEMARI_STAGE', `no frame of the guest came from host ${host}:\n${guest.log(host)}`);
}

/**
 * Host `host` dies without warning; waits until the other one speaks and the client hears the guest. `meanwhile`: what an
 * operator does as soon as it is dead.
 *
 * Errors: `KEMARI_STAGE`.
 */
export async function killHost(
  onlookers: Onlookers,
  host: HostName,
  meanwhile: () => void = () => undefined,
): Promise<TakeoverSeen> {
  const { guest, conversation } = onlookers;
  const killedAtMs = await guest.stage.crash(host);
  meanwhile();
  const firstFrameAtMs = await untilSpeaks(onlookers, otherHost(host), killedAtMs);
  const answer = (): number | undefined => conversation.firstAnswerAfter(firstFrameAtMs);
  await waitUntil(() => answer() !== undefined, { timeoutMs: TIMEOUT_MS });
  const answeredAtMs = answer();
  if (answeredAtMs === undefined) throw new KemariError('KEMARI_STAGE', 'no answer after the takeover');
  return { firstFrameMs: firstFrameAtMs - killedAtMs, nextByteMs: answeredAtMs - killedAtMs };
}

/** A host that died comes back: power, cables, kemarid. Errors: `KEMARI_STAGE`. */
export async function revive({ guest }: Pick<Onlookers, 'guest'>, host: HostName): Promise<void> {
  await guest.stage.cables.heal();
  await guest.startDaemon(host);
}
