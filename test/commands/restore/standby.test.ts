import { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { pino } from 'pino';
import { Standby, type StandbyHands } from '../../../src/commands/restore/standby.js';
import type { LinkReceiver, TakenCheckpoint } from '../../../src/native/link.js';

/** Fulfilled or rejected by the test. */
class Later {
  resolve!: () => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A standby whose link and hands are played: it has epoch 1, and its primary's machine has died. */
class Played {
  /** Takeovers that were begun, machines that were asked for. */
  readonly loads: Later[] = [];
  readonly machines: Later[] = [];
  /** The last epoch is there once this is fulfilled. */
  readonly taken = new Later();
  keepsCopy = true;
  readonly standby: Standby;

  constructor() {
    const hands: StandbyHands = {
      askPeer: () => Promise.resolve({ answer: 'gone', text: 'it is gone' }),
      fence: () => Promise.resolve({ ok: false, text: 'there is none' }),
      takeOver: () => begun(this.loads),
      announce: () => undefined,
      prepareMachine: () => begun(this.machines),
      keepsCopy: () => this.keepsCopy,
    };
    const nowhere = new Writable({
      write: (_chunk, _encoding, done) => {
        done();
      },
    });
    this.standby = new Standby({
      engine: {
        ...{ failover: 'manual', hasFence: false, takeoverTimeoutMs: 1000 },
        ...{ primaryOnSilence: 'hold', purpose: 'protect' },
      },
      ...{ policy: 'kemari', primary: 'elsewhere', hands, logger: pino(nowhere) },
    });
    const link: Pick<LinkReceiver, 'ack' | 'send' | 'stopGranting' | 'take'> = {
      ack: () => undefined,
      send: () => undefined,
      stopGranting: () => Promise.resolve(),
      take: () => this.taken.promise.then(() => ({ epoch: 1n }) as TakenCheckpoint),
    };
    this.standby.attach(link as LinkReceiver);
    this.standby.onLink({
      ...{ type: 'committed', epoch: 1n, pages: 1, bytes: 4096 },
      ...{ guestPaused: false, writesPending: false },
    });
    this.standby.onLink({ type: 'word', word: 'machine-died', text: '' });
  }
}

function begun(list: Later[]): Promise<void> {
  const later = new Later();
  list.push(later);
  return later.promise;
}

/** Everything that was due has happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await setImmediate();
}

test('a takeover whose machine has died is not carried out beside the next', async (t) => {
  const { standby, loads, machines, taken } = new Played();
  await settled();
  t.is(standby.phase, 'taking-over');
  standby.machineFailed('killed');
  standby.sighup();
  await settled();
  t.is(standby.phase, 'taking-over');
  taken.resolve();
  machines[0]!.resolve();
  await settled();
  t.is(loads.length, 1);
  t.is(machines.length, 1);
  loads[0]!.resolve();
  t.is(await standby.outcome, 'running');
});

test("a takeover that was given up ends before the next begins, and its failure is not the next one's", async (t) => {
  const { standby, loads, machines, taken } = new Played();
  taken.resolve();
  await settled();
  t.is(loads.length, 1, 'the first one loads');
  standby.machineFailed('killed');
  standby.sighup();
  machines[0]!.resolve();
  await settled();
  t.is(loads.length, 1, 'the next one waits for its end');
  loads[0]!.reject(new Error('the machine is gone'));
  await settled();
  t.is(standby.phase, 'taking-over');
  t.is(loads.length, 2);
  loads[1]!.resolve();
  t.is(await standby.outcome, 'running');
  t.is(machines.length, 1);
});

test('a takeover that fails with the only copy ends the standby; one that fails before is tried again', async (t) => {
  const { standby, loads, machines, taken } = new Played();
  taken.resolve();
  await settled();
  loads[0]!.reject(new Error('the disk does not answer'));
  await settled();
  t.is(standby.phase, 'silent');
  machines[0]!.resolve();
  standby.sighup();
  await settled();
  t.is(loads.length, 2);
  loads[1]!.resolve();
  t.is(await standby.outcome, 'running');

  const other = new Played();
  other.taken.resolve();
  await settled();
  other.keepsCopy = false;
  other.loads[0]!.reject(new Error('Xen refused the state'));
  await settled();
  t.is(await other.standby.outcome, 'ended');
  t.is(other.machines.length, 0, 'no machine is to wait for what is lost');
});
