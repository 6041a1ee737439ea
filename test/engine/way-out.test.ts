import test from 'ava';
import type { PrimaryCore, PrimaryState } from '../../src/engine/primary-state.js';
import { startPacing } from '../../src/engine/pacing.js';
import { startWirePace } from '../../src/engine/wire-pace.js';
import { wayOut, type WayOut } from '../../src/engine/way-out.js';

function core(changes: Partial<PrimaryCore> = {}): PrimaryCore {
  return {
    options: {
      purpose: 'protect',
      policy: { kind: 'kemari', strict: false },
      onSilence: 'hold',
      maxAgeMs: 1000,
      maxPauseShare: 0.2,
    },
    ...{ epoch: 1n, capturing: false, unacked: [], ackedEpoch: 1n, standsFor: undefined, paused: false },
    ...{ operatorPaused: false, told: { operatorPaused: false, sinceEpoch: 0n } },
    ...{ heldSinceMs: undefined, consoleSinceMs: undefined, heldSequence: 0n, dirtyLimitReached: false },
    ...{ lastCaptureMs: 0, pacing: startPacing(0.2, 0), wire: startWirePace(0, 0) },
    ...changes,
  };
}

const handingOver = (handover: (PrimaryState & { phase: 'handing-over' })['handover']): PrimaryState => ({
  phase: 'handing-over',
  core: core(),
  handover,
});

const silent = (linkUp: boolean, changes?: Partial<PrimaryCore>): PrimaryState => ({
  phase: 'silent',
  core: core(changes),
  linkUp,
  peer: 'silent',
});

/** What is done with time left, and without. */
const way = test.macro((t, state: PrimaryState, inTime: WayOut, late: WayOut) => {
  t.deepEqual([wayOut(state, true), wayOut(state, false)], [inTime, late]);
});

test(
  'a protected guest is handed over, or else its standby is told',
  way,
  { phase: 'protected', core: core() },
  'hand-over',
  'tell',
);
test(
  'a standby without any epoch is told nothing',
  way,
  { phase: 'protected', core: core({ ackedEpoch: 0n }) },
  'wait',
  'end',
);
test('a standby that may answer again is waited for', way, silent(true), 'wait', 'tell');
test('a standby whose link is lost is not waited for', way, silent(false), 'tell', 'tell');
test('a silent standby without any epoch is told nothing', way, silent(true, { ackedEpoch: 0n }), 'end', 'end');
test('a switchover that takes too long is none', way, handingOver('draining'), 'wait', 'tell');
test('after go nothing else is said', way, handingOver('go-sent'), 'wait', 'end');
test(
  'a protection that ends is not begun again',
  way,
  { phase: 'disarming', core: core(), then: 'unprotected' },
  'wait',
  'end',
);
test('a guest without a standby ends with its process', way, { phase: 'unprotected' }, 'end', 'end');
test(
  'a guest that is being copied ends with its process',
  way,
  { phase: 'copying', options: core().options, paused: false },
  'end',
  'end',
);
