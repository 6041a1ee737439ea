import test from 'ava';
import {
  RESTART_LIMIT,
  RESTART_WINDOW_MS,
  startLifecycle,
  step,
  type EndPolicy,
  type Lifecycle,
  type LifecycleInput,
  type LifecycleState,
} from '../../src/engine/lifecycle.js';

const RUNNING: LifecycleState = { name: 'running' };
const PAUSED: LifecycleState = { name: 'paused', asked: undefined };
const STARTING: LifecycleState = { name: 'starting', paused: false };
const STANDBY: LifecycleState = { name: 'standby' };
const DYING: LifecycleState = { name: 'dying' };
const SHUTTING_DOWN: LifecycleState = { name: 'shutting-down', asked: 'poweroff' };
const REBOOTING: LifecycleState = { name: 'shutting-down', asked: 'reboot' };
const SHUTDOWN: LifecycleState = { name: 'shutdown' };
const CRASHED: LifecycleState = { name: 'crashed' };

const destroyAll: EndPolicy = { onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy' };
const restartAll: EndPolicy = { onPoweroff: 'restart', onReboot: 'restart', onCrash: 'restart' };
const preserveAll: EndPolicy = { onPoweroff: 'preserve', onReboot: 'preserve', onCrash: 'preserve' };

function lifecycle(state: LifecycleState, policy: EndPolicy): Lifecycle {
  return { state, policy, restartsMs: [] };
}

function ask(verb: 'pause' | 'unpause' | 'shutdown' | 'reboot' | 'destroy'): LifecycleInput {
  return { type: 'request', verb };
}

/** What a step does, without what it says. */
function deeds(
  state: LifecycleState,
  policy: EndPolicy,
  input: LifecycleInput,
): { state: LifecycleState; does: string[] } {
  const { lifecycle: next, effects } = step(lifecycle(state, policy), input);
  return { state: next.state, does: effects.flatMap((effect) => (effect.do === 'log' ? [] : [effect.do])) };
}

const at = { nowMs: 0 };
const poweredOff: LifecycleInput = { type: 'powered-off', ...at };
const rebooted: LifecycleInput = { type: 'rebooted', ...at };
const panicked: LifecycleInput = { type: 'panicked', ...at };
const exited: LifecycleInput = { type: 'exited', reason: 'signal SIGKILL', ...at };
const deviceFailed: LifecycleInput = { type: 'device-failed', reason: 'disk xvda', ...at };
const ready: LifecycleInput = { type: 'machine-ready' };
const failed: LifecycleInput = { type: 'machine-failed', reason: 'no such file' };

type Row = readonly [LifecycleState, EndPolicy, LifecycleInput, LifecycleState, readonly string[]];

const transitions: readonly Row[] = [
  // starting
  [STARTING, destroyAll, ready, RUNNING, ['resume']],
  [{ name: 'starting', paused: true }, destroyAll, ready, PAUSED, []],
  [STARTING, restartAll, failed, DYING, ['take-down']],
  [STARTING, destroyAll, ask('destroy'), DYING, ['take-down']],
  [STARTING, restartAll, exited, STARTING, ['relaunch']],
  // the user's requests
  [RUNNING, destroyAll, ask('pause'), PAUSED, ['pause']],
  [PAUSED, destroyAll, ask('unpause'), RUNNING, ['resume']],
  [PAUSED, destroyAll, ask('pause'), PAUSED, []],
  [RUNNING, destroyAll, ask('unpause'), RUNNING, []],
  [RUNNING, destroyAll, ask('shutdown'), SHUTTING_DOWN, ['request-power-off']],
  [RUNNING, destroyAll, ask('reboot'), REBOOTING, ['request-power-off']],
  [SHUTTING_DOWN, destroyAll, ask('shutdown'), SHUTTING_DOWN, ['request-power-off']],
  [SHUTTING_DOWN, destroyAll, ask('reboot'), REBOOTING, ['request-power-off']],
  [SHUTTING_DOWN, destroyAll, ask('pause'), { name: 'paused', asked: 'poweroff' }, ['pause']],
  [{ name: 'paused', asked: 'reboot' }, destroyAll, ask('unpause'), REBOOTING, ['resume']],
  [RUNNING, destroyAll, ask('destroy'), DYING, ['take-down']],
  [CRASHED, preserveAll, ask('destroy'), DYING, ['take-down']],
  [DYING, destroyAll, ask('destroy'), DYING, []],
  // what is refused
  [STARTING, destroyAll, ask('pause'), STARTING, ['refuse']],
  [STARTING, destroyAll, ask('shutdown'), STARTING, ['refuse']],
  [PAUSED, destroyAll, ask('shutdown'), PAUSED, ['refuse']],
  [PAUSED, destroyAll, ask('reboot'), PAUSED, ['refuse']],
  [SHUTDOWN, preserveAll, ask('unpause'), SHUTDOWN, ['refuse']],
  [CRASHED, preserveAll, ask('pause'), CRASHED, ['refuse']],
  [CRASHED, preserveAll, ask('reboot'), CRASHED, ['refuse']],
  [DYING, destroyAll, ask('pause'), DYING, ['refuse']],
  // power-off
  [RUNNING, destroyAll, poweredOff, DYING, ['take-down']],
  [SHUTTING_DOWN, destroyAll, poweredOff, DYING, ['take-down']],
  [RUNNING, preserveAll, poweredOff, SHUTDOWN, []],
  [RUNNING, restartAll, poweredOff, STARTING, ['relaunch']],
  [{ name: 'paused', asked: 'poweroff' }, preserveAll, poweredOff, SHUTDOWN, []],
  [REBOOTING, { ...destroyAll, onReboot: 'restart' }, poweredOff, STARTING, ['reset']],
  [REBOOTING, { ...restartAll, onReboot: 'destroy' }, poweredOff, DYING, ['take-down']],
  // reboot
  [RUNNING, restartAll, rebooted, RUNNING, []],
  [REBOOTING, restartAll, rebooted, RUNNING, []],
  [STARTING, restartAll, rebooted, STARTING, []],
  [PAUSED, restartAll, rebooted, PAUSED, []],
  [{ name: 'paused', asked: 'reboot' }, restartAll, rebooted, PAUSED, []],
  [RUNNING, destroyAll, rebooted, DYING, ['take-down']],
  [RUNNING, preserveAll, rebooted, SHUTDOWN, []],
  // crash of the guest
  [RUNNING, restartAll, panicked, STARTING, ['relaunch']],
  [RUNNING, destroyAll, panicked, DYING, ['take-down']],
  [SHUTTING_DOWN, preserveAll, panicked, CRASHED, []],
  [CRASHED, restartAll, rebooted, CRASHED, []],
  [SHUTDOWN, restartAll, panicked, SHUTDOWN, []],
  // crash of the machine
  [RUNNING, restartAll, exited, STARTING, ['relaunch']],
  [RUNNING, destroyAll, exited, DYING, ['take-down']],
  [PAUSED, preserveAll, exited, CRASHED, ['end-machine']],
  [RUNNING, restartAll, deviceFailed, STARTING, ['relaunch']],
  [RUNNING, preserveAll, deviceFailed, CRASHED, ['end-machine']],
  [CRASHED, preserveAll, exited, CRASHED, ['end-machine']],
  [SHUTDOWN, restartAll, exited, SHUTDOWN, ['end-machine']],
  // a standby's machine is another host's guest: nothing starts it anew
  [STANDBY, restartAll, ready, RUNNING, ['resume']],
  [STANDBY, restartAll, { type: 'machine-ready', paused: true }, PAUSED, []],
  [STANDBY, restartAll, exited, STANDBY, ['standby-lost']],
  [STANDBY, restartAll, deviceFailed, STANDBY, ['standby-lost']],
  [STANDBY, restartAll, failed, STANDBY, ['standby-lost']],
  [STANDBY, restartAll, poweredOff, STANDBY, []],
  [STANDBY, restartAll, ask('pause'), STANDBY, ['refuse']],
  [STANDBY, restartAll, ask('reboot'), STANDBY, ['refuse']],
  [STANDBY, restartAll, ask('destroy'), DYING, ['take-down']],
  // too late
  [RUNNING, destroyAll, ready, RUNNING, []],
  [STARTING, destroyAll, poweredOff, STARTING, []],
  [DYING, restartAll, exited, DYING, []],
  [DYING, restartAll, ready, DYING, []],
  [DYING, restartAll, failed, DYING, []],
];

test('every transition of the table leads where it says and does what it says', (t) => {
  for (const [from, policy, input, to, does] of transitions) {
    const label = `${JSON.stringify(from)} + ${JSON.stringify(input)} with ${JSON.stringify(policy)}`;
    t.deepEqual(deeds(from, policy, input), { state: to, does: [...does] }, label);
  }
});

test('a domain that is created paused does not run before it is unpaused', (t) => {
  const { lifecycle: waiting, effects } = step(startLifecycle(destroyAll, true), ready);
  t.false(effects.some((effect) => effect.do === 'resume'));
  t.is(step(waiting, ask('unpause')).effects[0]?.do, 'resume');
});

test('a guest that restarts too often is destroyed with a clear word', (t) => {
  let now = startLifecycle(restartAll, false);
  for (let nowMs = 0; nowMs < RESTART_LIMIT; nowMs++) {
    now = step(step(now, ready).lifecycle, { type: 'rebooted', nowMs }).lifecycle;
    t.is(now.state.name, 'running');
  }
  const last = step(step(now, ready).lifecycle, { type: 'panicked', nowMs: RESTART_LIMIT });
  t.is(last.lifecycle.state.name, 'dying');
  t.true(
    last.effects.some(
      (effect) =>
        effect.do === 'log' && effect.level === 'error' && effect.text.includes(`restarted ${RESTART_LIMIT} times`),
    ),
  );
});

test('restarts that lie a window apart are never too many', (t) => {
  let now = startLifecycle(restartAll, false);
  for (let count = 0; count < 3 * RESTART_LIMIT; count++) {
    now = step(step(now, ready).lifecycle, {
      type: 'rebooted',
      nowMs: (count * RESTART_WINDOW_MS) / RESTART_LIMIT,
    }).lifecycle;
    t.is(now.state.name, 'running');
  }
  t.true(now.restartsMs.length <= RESTART_LIMIT);
});

test('a refusal tells the state and what to do', (t) => {
  const { effects } = step(lifecycle(PAUSED, destroyAll), ask('shutdown'));
  t.like(effects[0], { do: 'refuse', code: 'KEMARI_WRONG_STATE' });
  t.regex(effects[0]?.do === 'refuse' ? effects[0].text : '', /paused.*unpause it first/);
});
