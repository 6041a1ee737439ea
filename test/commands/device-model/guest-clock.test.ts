import test from 'ava';
import { GuestClock } from '../../../src/commands/device-model/guest-clock.js';
import { waitUntil } from '../../../src/base/deadline.js';

/** A host's clock that the test moves, and a guest's that is behind it by as much as its pauses took. */
class Clocks {
  hostMs = 1_700_000_000_000;
  behindMs: number;
  there = true;
  readonly told: string[] = [];
  asked = 0;
  readonly clock: GuestClock;

  constructor(behindMs: number) {
    this.behindMs = behindMs;
    this.clock = new GuestClock({
      agent: {
        isThere: () => Promise.resolve(this.there),
        execute: (command, args) => {
          this.asked += 1;
          if (command === 'guest-get-time') return Promise.resolve((this.hostMs - this.behindMs) * 1e6);
          const timeNs = /"time":(\d+)/.exec(args)?.[1] ?? '0';
          this.behindMs = this.hostMs - Number(BigInt(timeNs) / 1_000_000n);
          return Promise.resolve({});
        },
      },
      nowMs: () => this.hostMs,
      log: (_, text) => this.told.push(text),
    });
  }

  /** The guest's clock was read once. */
  async read(): Promise<void> {
    this.clock.look();
    await waitUntil(() => this.asked >= 3, { timeoutMs: 5_000, everyMs: 1 });
    await this.settle();
  }

  pause(ms: number): void {
    this.clock.stopped();
    this.hostMs += ms;
    this.behindMs += ms;
    this.clock.resumed();
  }

  /** What was begun is done: nothing here takes time but turns of the event loop. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async look(): Promise<void> {
    this.clock.look();
    await this.settle();
  }
}

test('time that pauses took is given back, and no more', async (t) => {
  const clocks = new Clocks(400);
  await clocks.read();
  clocks.pause(300);
  await clocks.look();
  t.is(clocks.behindMs, 400, 'behind by as much as before');
  t.regex(clocks.told[0] ?? '', /was 300 ms behind/);
  clocks.clock.close();
});

test('many small pauses are given back after a while, one that does not matter is not', async (t) => {
  const clocks = new Clocks(0);
  await clocks.read();
  for (let pause = 0; pause < 50; pause += 1) clocks.pause(2);
  await clocks.look();
  t.is(clocks.behindMs, 100, 'not worth an interruption yet');
  clocks.hostMs += 10_000;
  await clocks.look();
  t.is(clocks.behindMs, 0);
  clocks.pause(5);
  clocks.hostMs += 10_000;
  await clocks.look();
  t.is(clocks.behindMs, 5);
  clocks.clock.close();
});

test('what the guest corrected itself is not corrected again', async (t) => {
  const clocks = new Clocks(0);
  await clocks.read();
  clocks.pause(600);
  clocks.behindMs = 100;
  await clocks.look();
  t.is(clocks.behindMs, 0);
  clocks.pause(600);
  clocks.behindMs = 0;
  await clocks.look();
  t.is(clocks.behindMs, 0);
  t.is(clocks.told.length, 1);
  clocks.clock.close();
});

test('after a takeover what was lost is given back at once, without having read the clock before', async (t) => {
  const clocks = new Clocks(700);
  clocks.clock.tookOver(650);
  await clocks.settle();
  t.is(clocks.behindMs, 50);
  clocks.clock.close();
});

test('a guest that lives in another time stays there', async (t) => {
  const year = 365 * 86_400_000;
  const clocks = new Clocks(year);
  clocks.clock.tookOver(600);
  await clocks.settle();
  t.is(clocks.behindMs, year - 600);
  clocks.clock.close();
});

test('a guest without an agent is asked seldom and loses nothing else', async (t) => {
  const clocks = new Clocks(0);
  clocks.there = false;
  clocks.pause(1_000);
  await clocks.look();
  clocks.there = true;
  await clocks.look();
  t.is(clocks.asked, 0, 'not so soon again');
  clocks.hostMs += 10_000;
  await clocks.look();
  t.is(clocks.behindMs, 0);
  clocks.clock.close();
});
