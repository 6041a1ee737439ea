import test from 'ava';
import {
  DIRTY_LIMIT_PAGES,
  dirtyLimitPages,
  LEAST_DIRTY_LIMIT_PAGES,
  MAX_EPOCH_WIRE_MS,
  MAX_UNACKED_EPOCHS,
} from '../../src/engine/policy.js';
import { stepPrimary } from '../../src/engine/primary.js';
import type { PrimaryEffect, PrimaryInput, PrimaryOptions, PrimaryState } from '../../src/engine/primary-state.js';
import { noteWire, startWirePace, wireTimeMs } from '../../src/engine/wire-pace.js';

interface Link {
  readonly bytesPerMs: number;
  readonly roundTripMs: number;
}

const PAUSE_MS = 2;
const EPOCH_BYTES = 100_000;
const HELD_EVERY_MS = 5;
const SLOW: Link = { bytesPerMs: 1_250, roundTripMs: 0.5 }; // 10 Mbit/s
const FAST: Link = { bytesPerMs: 125_000, roundTripMs: 0.5 };
const FAR: Link = { bytesPerMs: 125_000, roundTripMs: 40 };

/** A guest that always has something more to send, over a link that carries one epoch after the other. */
function run(link: Link, durationMs: number): { waitsMs: number[]; mostUnacked: number; epochs: number } {
  const events: { readonly atMs: number; readonly input: PrimaryInput }[] = [];
  const heldAtMs = new Map<bigint, number>();
  const waitsMs: number[] = [];
  let state: PrimaryState = { phase: 'unprotected' };
  let nowMs = 0;
  let linkFreeAtMs = 0;
  let sequence = 0n;
  let mostUnacked = 0;
  let epochs = 0;
  const at = (atMs: number, input: PrimaryInput): void => {
    events.push({ atMs, input });
    events.sort((a, b) => a.atMs - b.atMs);
  };
  const carryOut = (effect: PrimaryEffect): void => {
    if (effect.do === 'set-timer') at(effect.atMs, { type: 'timer' });
    if (effect.do === 'release') {
      for (const [held, sinceMs] of heldAtMs) {
        if (held > effect.throughSequence) continue;
        waitsMs.push(nowMs - sinceMs);
        heldAtMs.delete(held);
      }
    }
    if (effect.do !== 'capture') return;
    const { epoch } = effect;
    const capturedAtMs = nowMs + PAUSE_MS;
    linkFreeAtMs = Math.max(linkFreeAtMs, capturedAtMs) + EPOCH_BYTES / link.bytesPerMs;
    const cut = {
      throughSequence: sequence,
      pauseUs: PAUSE_MS * 1000,
      busyShare: 0,
      dirtyPages: 0,
      bytes: EPOCH_BYTES,
    };
    at(capturedAtMs, { type: 'captured', epoch, ...cut });
    at(linkFreeAtMs + link.roundTripMs, { type: 'acked', epoch });
    epochs += 1;
  };
  const options: PrimaryOptions = {
    purpose: 'protect',
    policy: { kind: 'kemari', strict: false },
    onSilence: 'hold',
    maxAgeMs: 1000,
    maxPauseShare: 0.2,
  };
  at(0, { type: 'start', options, paused: false });
  at(0, { type: 'copied', roundTripMs: link.roundTripMs });
  for (let heldMs = 1; heldMs < durationMs; heldMs += HELD_EVERY_MS) {
    at(heldMs, { type: 'held', output: 'request', sequence: BigInt(heldMs) });
  }
  for (let next = events.shift(); next !== undefined && nowMs < durationMs; next = events.shift()) {
    nowMs = next.atMs;
    if (next.input.type === 'held') {
      ({ sequence } = next.input);
      heldAtMs.set(sequence, nowMs);
    }
    const step = stepPrimary(state, next.input, nowMs);
    ({ state } = step);
    step.effects.forEach(carryOut);
    if ('core' in state) mostUnacked = Math.max(mostUnacked, state.core.unacked.length);
  }
  return { waitsMs, mostUnacked, epochs };
}

test('behind a slow link what is held waits for the epoch before its own, and for no more of them', (t) => {
  const { waitsMs } = run(SLOW, 4_000);
  const wireMs = EPOCH_BYTES / SLOW.bytesPerMs;
  t.true(waitsMs.length > 700, `${waitsMs.length}`);
  // The first epochs go out before anything is known of the link.
  const settled = waitsMs.slice(200);
  const most = settled.reduce((a, b) => Math.max(a, b));
  t.true(most <= 2 * (wireMs + SLOW.roundTripMs + PAUSE_MS), `${most} ms, an epoch needs ${wireMs}`);
});

test('a slow link is kept busy all the same', (t) => {
  const { epochs } = run(SLOW, 4_000);
  t.true(epochs >= 0.9 * (4_000 / (EPOCH_BYTES / SLOW.bytesPerMs)), `${epochs}`);
});

test('where the way is long and the link fast, as many epochs are on their way as may be', (t) => {
  t.is(run(FAR, 2_000).mostUnacked, MAX_UNACKED_EPOCHS);
  t.true(run(FAST, 2_000).epochs > 300);
});

test('the round trip is no time of the wire, and neither is the wait behind another epoch', (t) => {
  const first = { sentFromMs: 100, bytes: 1000 };
  const second = { sentFromMs: 101, bytes: 1000 };
  const once = noteWire(startWirePace(10, 0), [first], 120);
  t.is(wireTimeMs(once, 1000), 10);
  t.is(wireTimeMs(noteWire(once, [second], 130), 1000), 10);
  t.is(wireTimeMs(startWirePace(10, 0), 1000), 0);
});

test('an epoch may have fewer pages where the link is slow, but never too few to go on with', (t) => {
  const paceOf = (ms: number) => noteWire(startWirePace(0, 0), [{ sentFromMs: 0, bytes: 1 << 20 }], ms);
  t.is(dirtyLimitPages(startWirePace(0, 0)), DIRTY_LIMIT_PAGES);
  t.is(dirtyLimitPages(paceOf(1)), DIRTY_LIMIT_PAGES);
  t.is(dirtyLimitPages(paceOf(MAX_EPOCH_WIRE_MS / 4)), 1024);
  t.is(dirtyLimitPages(paceOf(800)), LEAST_DIRTY_LIMIT_PAGES);
});
