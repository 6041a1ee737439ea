import { stepPrimary } from '../../src/engine/primary.js';
import { stepStandby } from '../../src/engine/standby.js';
import type { Exception, Violation } from './checkers.js';
import { SECTORS } from './storage.js';
import { Process, type HostName } from './host.js';
import { Link } from './link.js';
import { Machine } from './machine.js';
import { Operator } from './operator.js';
import { nameOf, type Fault, type Plan } from './plan.js';
import { PrimarySide } from './primary-side.js';
import { StandbySide } from './standby-side.js';
import type { Tally } from './tally.js';
import { World, type Engine } from './world.js';

export const REAL_ENGINE: Engine = { stepPrimary, stepStandby };

/** After healing, longer than every retry and timeout of the engine and of the model. */
const PROGRESS_LIMIT_MS = 20_000;

/** Far more than happens in any run. */
const MAX_APPOINTMENTS = 500_000;

export interface Outcome {
  readonly violation: Violation | undefined;
  readonly story: readonly string[];
  /** What is not promised happened, and ended the run. */
  readonly exception: Exception | undefined;
}

/** Runs a plan to its end. The same plan and engine give the same outcome. */
export function simulate(
  plan: Plan,
  engine: Engine = REAL_ENGINE,
  { tells = false, tally }: { readonly tells?: boolean; readonly tally?: Tally } = {},
): Outcome {
  return new Simulation(plan, engine, tells, tally).run();
}

class Simulation {
  readonly #world: World;
  readonly #primary: PrimarySide;
  readonly #standby: StandbySide;
  readonly #link: Link;
  readonly #operator: Operator;

  constructor(plan: Plan, engine: Engine, tells: boolean, tally: Tally | undefined) {
    const world = new World(plan, engine, tells, tally);
    this.#world = world;
    const a = new Process(world.hosts.A);
    const b = new Process(world.hosts.B);
    const link = new Link(world, a, b);
    this.#link = link;
    const life = world.newLife(undefined);
    const nothing = Array.from({ length: SECTORS }, () => undefined);
    const machine = new Machine(world, a, { life, head: 0, known: nothing, pending: [], toTell: [] });
    this.#primary = new PrimarySide(world, a, machine, link.sender);
    this.#standby = new StandbySide(world, b, link.receiver, {
      ...{ failover: plan.failover, hasFence: plan.hasFence, takeoverTimeoutMs: plan.takeoverTimeoutMs },
      ...{ primaryOnSilence: plan.options.onSilence, purpose: plan.options.purpose },
    });
    this.#operator = new Operator(world, this.#primary, this.#standby);
    // A kernel that lives ends the connections of a process that does not.
    a.onDeath = (): void => {
      machine.end();
      if (world.hosts.A.isUp)
        link.sender.stream.send(() => {
          link.receiver.lose('connection closed');
        });
    };
    b.onDeath = (): void => {
      this.#standby.machine?.end();
      if (world.hosts.B.isUp)
        link.receiver.stream.send(() => {
          link.sender.lose('connection closed');
        });
    };
    for (const fault of plan.faults) this.#arrange(fault);
    link.receiver.start();
    link.sender.start();
    machine.resume();
    this.#primary.start(plan.options);
    world.clock.at(plan.healMs, () => {
      this.#heal();
    });
  }

  run(): Outcome {
    const world = this.#world;
    const { clock, checkers, plan } = world;
    const untilMs = plan.healMs + PROGRESS_LIMIT_MS;
    try {
      let left = MAX_APPOINTMENTS;
      while (!checkers.isOver && !this.#operator.isContent && clock.step(untilMs)) {
        if (--left === 0) throw new Error('the world turns in circles');
      }
    } catch (error) {
      checkers.fail('assertion', error instanceof Error ? error.message : String(error));
    }
    if (!checkers.isOver && !this.#operator.isContent) {
      checkers.fail(
        'no progress after healing',
        `A is ${this.#primary.state.phase}, B is ${this.#standby.state.phase}`,
      );
    }
    world.isOver = true;
    const { violation, exception } = checkers;
    if (world.tells && violation !== undefined) world.tell('!', `${violation.rule}: ${violation.text}`);
    if (world.tells && exception !== undefined) world.tell('not promised:', exception);
    if (exception !== undefined) world.tally?.add(`exception: ${exception}`);
    world.tally?.add(`end: A ${this.#primary.state.phase}, B ${this.#standby.state.phase}`);
    return { violation, exception, story: world.story };
  }

  #arrange(fault: Fault): void {
    const { clock } = this.#world;
    const processOf = (name: HostName): Process => this.#world.hosts[name].process!;
    switch (fault.kind) {
      case 'crash':
        processOf(fault.who).arrange({
          moment: fault.moment,
          befall: (thread, step) => {
            this.#told(fault.who, `dies before "${step}", on its ${thread.name} thread`);
            this.#world.tally?.add(`${fault.who} dies before: ${step}`);
            thread.process.kill();
          },
        });
        return;
      case 'stall':
        processOf(fault.who).arrange({
          moment: fault.moment,
          befall: (thread, step) => {
            // After healing everybody runs.
            const untilMs = Math.min(clock.nowMs + fault.forMs, Math.max(this.#world.plan.healMs, clock.nowMs));
            const what = fault.whole ? 'all of it' : `its ${thread.name} thread`;
            this.#told(fault.who, `${what} stands still before "${step}" until ${untilMs.toFixed(2)} ms`);
            this.#world.tally?.add(`${fault.who} stands still before: ${step}`);
            if (fault.whole) thread.process.stall(untilMs);
            else thread.stall(untilMs);
          },
        });
        return;
      case 'load-then-dies':
        // Of the standby's own doing (standby-side.ts).
        return;
      default:
        clock.at(fault.atMs, () => {
          this.#befall(fault);
        });
    }
  }

  #befall(fault: Exclude<Fault, { readonly kind: 'crash' | 'stall' | 'load-then-dies' }>): void {
    const { clock, network, storage, plan } = this.#world;
    const until = (act: () => void, forMs: number): void => {
      clock.at(Math.min(clock.nowMs + forMs, plan.healMs), act);
    };
    this.#told('fault', JSON.stringify(fault));
    this.#world.tally?.add(`fault: ${nameOf(fault)}`);
    switch (fault.kind) {
      case 'cut': {
        const directions: readonly HostName[] = fault.from === 'both' ? ['A', 'B'] : [fault.from];
        for (const from of directions) {
          network.cut(from, true);
          until(() => {
            network.cut(from, false);
          }, fault.forMs);
        }
        return;
      }
      case 'slow':
        network.slowness = fault.factor;
        until(() => {
          network.slowness = 1;
        }, fault.forMs);
        return;
      case 'break':
        this.#link.break(fault);
        return;
      case 'kemarid-down':
        this.#world.hosts[fault.who].answers = false;
        until(() => {
          this.#world.hosts[fault.who].answers = true;
        }, fault.forMs);
        return;
      case 'freeze':
        for (const thread of this.#world.hosts[fault.who].process!.threads) {
          if (fault.thread !== 'all' && thread.name !== fault.thread) continue;
          thread.stall(Math.min(clock.nowMs + fault.forMs, plan.healMs));
        }
        return;
      case 'power-off':
        this.#world.powerOff(fault.who);
        if (fault.backAfterMs !== Infinity) {
          clock.after(fault.backAfterMs, () => {
            this.#comesBack(fault.who);
          });
        }
        return;
      case 'machine-dies':
        this.#operator.machineDies(fault.who);
        return;
      case 'late-storage':
        storage.lateMs = fault.lateMs;
        until(() => {
          storage.lateMs = 0;
        }, fault.forMs);
        return;
      case 'guest-ends':
        this.#operator.guestEnds();
        return;
      case 'guest':
        this.#operator.steer(fault.wanted);
        return;
      case 'copy-damaged':
        this.#link.receiver.damage();
        return;
      case 'dirty-limit':
        this.#primary.input({ type: 'dirty-limit' });
        return;
      case 'operator':
        this.#operator.ordersPrimary(fault.verb);
        return;
      case 'standby':
        this.#operator.ordersStandby(fault.order);
        return;
    }
  }

  #comesBack(name: HostName): void {
    const { hosts, network, storage } = this.#world;
    // A host that was fenced stays off until somebody looks at it.
    if (storage.isFenced[name]) return;
    hosts[name].isUp = true;
    network.isOff[name] = false;
    this.#told(name, 'the host is back');
    this.#link.break({ primary: name === 'B', standby: name === 'A', stream: false });
  }

  #heal(): void {
    const { network } = this.#world;
    this.#told('', 'healing');
    network.slowness = 1;
    this.#operator.start();
  }

  #told(who: string, text: string): void {
    if (this.#world.tells) this.#world.tell(who, text);
  }
}
