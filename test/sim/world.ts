import type { stepPrimary } from '../../src/engine/primary.js';
import type { stepStandby } from '../../src/engine/standby.js';
import { Checkers } from './checkers.js';
import { Clock } from './clock.js';
import type { GuestState, Life } from './guest.js';
import { Host, type HostName, type Process } from './host.js';
import type { Machine } from './machine.js';
import { Network } from './network.js';
import type { Plan } from './plan.js';
import { Random } from './random.js';
import { Storage } from './storage.js';
import type { Tally } from './tally.js';

/** The code that is tried: the real one, or one that was broken on purpose. */
export interface Engine {
  readonly stepPrimary: typeof stepPrimary;
  readonly stepStandby: typeof stepStandby;
  readonly flaws?: Flaws;
}

/** What of the native parts is broken on purpose, so that every rule is seen to be broken by something (mutations.ts). */
export interface Flaws {
  readonly gateIgnoresLease?: boolean;
  /** The lease runs from when the answer came, not from when the renewal was sent. */
  readonly leaseFromAnswer?: boolean;
  readonly acksBeforeComplete?: boolean;
  readonly resumesEpochBefore?: boolean;
  readonly forgetsReplay?: boolean;
  /** What was popped and not answered is not in the cut. */
  readonly cutsNothingPending?: boolean;
  /** A cache of the host's answers writes. */
  readonly answersBeforeLanding?: boolean;
  readonly doesNotDrain?: boolean;
}

/** Of the takeover timeout, as in model/protection.ts. */
const LEASE_SHARE = 0.6;
const QUERY_TIMEOUT_MS = 200;

/** Two hosts, the wires between them, and the disk and the client that both reach. */
export class World {
  readonly clock = new Clock();
  readonly random: Random;
  readonly network: Network;
  readonly storage: Storage;
  readonly checkers: Checkers;
  readonly hosts: Readonly<Record<HostName, Host>>;
  readonly leaseMs: number;
  readonly story: string[] = [];
  isOver = false;
  guestTickMs = 40;
  #uid = 0;
  #lives = 0;
  #fenceFailures: number;

  constructor(
    readonly plan: Plan,
    readonly engine: Engine,
    /** Whether the story is written down. */
    readonly tells: boolean,
    readonly tally?: Tally,
  ) {
    const random = new Random(plan.seed + 0x51ed270b);
    this.random = random;
    this.network = new Network(this.clock, random);
    this.storage = new Storage(this.clock, random);
    this.checkers = new Checkers(() => this.clock.nowMs, this.storage.sectors, plan.hasFence);
    this.storage.onLanding = (write, by, isLate): void => {
      this.checkers.landed(write, by, isLate);
    };
    const host = (name: HostName): Host =>
      new Host(name, this.clock, 1 + random.between(-0.001, 0.001), random.between(1, 1000));
    this.hosts = { A: host('A'), B: host('B') };
    this.leaseMs = Math.floor(plan.takeoverTimeoutMs * LEASE_SHARE);
    this.#fenceFailures = plan.fenceFailures;
  }

  nextUid(): number {
    return ++this.#uid;
  }

  newLife(from: GuestState | undefined): Life {
    return { number: this.#lives++, parent: from?.life, forkUid: from?.head ?? 0 };
  }

  tell(who: string, text: string, effects: readonly { readonly do: string }[] = []): void {
    const done = effects.filter((effect) => effect.do !== 'log').map(effectText);
    const says = done.length === 0 ? '' : `  => ${done.join(', ')}`;
    this.story.push(`${this.clock.nowMs.toFixed(2).padStart(9)} ms  ${who}  ${text}${says}`);
  }

  captureFails(epoch: number): boolean {
    return this.plan.captureFails === epoch;
  }

  /** Asks the other host's kemarid (host/claim.ts): only it can say that a process is gone, and it must not have gone on alone. */
  askPeer(asker: Process, answered: (answer: 'runs' | 'gone' | 'unreachable') => void): void {
    const { clock, network } = this;
    const here = asker.host;
    const there = this.hosts[here.name === 'A' ? 'B' : 'A'];
    const unreachable = (): void => {
      clock.after(QUERY_TIMEOUT_MS, () => {
        answered('unreachable');
      });
    };
    if (!network.passes(here.name)) {
      unreachable();
      return;
    }
    clock.after(network.delayMs(), () => {
      if (!there.isUp || !there.answers || !network.passes(there.name)) {
        unreachable();
        return;
      }
      const runs = there.process?.isAlive === true;
      const isGone = !runs && !there.wentOnAlone;
      clock.after(network.delayMs(), () => {
        answered(isGone ? 'gone' : runs ? 'runs' : 'unreachable');
      });
    });
  }

  /** The fence command: turns the other host off and cuts it off from storage. One that fails may have done so as well. */
  fence(asker: Process, ended: (ok: boolean) => void): void {
    const there = this.hosts[asker.host.name === 'A' ? 'B' : 'A'];
    if (!this.plan.hasFence) {
      ended(false);
      return;
    }
    const fails = this.#fenceFailures > 0;
    if (fails) this.#fenceFailures--;
    const acts = !fails || this.random.chance(0.5);
    this.clock.after(this.random.between(5, 60), () => {
      if (acts) {
        if (this.tells) this.tell('fence', `${there.name} is off`);
        this.storage.isFenced[there.name] = true;
        this.powerOff(there.name);
      }
      this.clock.after(this.random.between(0, 5), () => {
        ended(!fails);
      });
    });
  }

  powerOff(name: HostName): void {
    const host = this.hosts[name];
    host.isUp = false;
    this.network.isOff[name] = true;
    host.process?.kill();
  }

  /** A process ends in order. */
  exits(process: Process, machine: Machine | undefined): void {
    this.clock.after(this.random.between(1, 20), () => {
      machine?.end();
      process.kill();
    });
  }
}

function effectText(effect: { readonly do: string }): string {
  const details = Object.entries<unknown>({ ...effect }).flatMap(([key, value]) =>
    key === 'do' || key === 'text' ? [] : [String(value)],
  );
  return [effect.do, ...details].join(' ');
}
