import type { HostName } from './host.js';
import type { PrimarySide } from './primary-side.js';
import type { StandbySide } from './standby-side.js';
import type { World } from './world.js';

/** How often the operator looks after healing. */
const LOOK_MS = 300;
/** The guest is well once it has said so much to the world after healing. */
const SPOKEN_ENOUGH = 4;

/**
 * The people. They may do anything at any time that the engine is to be safe against; what asks for their word that the other
 * side is dead, or never ran the guest, they say only where it is true. After healing they do what the manual says.
 */
export class Operator {
  isContent = false;
  #spokenAtHealing = 0;
  #standbyLooks = 0;

  constructor(
    readonly world: World,
    readonly primary: PrimarySide,
    readonly standby: StandbySide,
  ) {}

  machineDies(who: HostName): void {
    const { primary, standby } = this;
    if (who === 'B') {
      standby.machineDies();
      return;
    }
    primary.machine.die();
    primary.input({ type: 'machine-died', reason: 'QEMU has ended' });
  }

  guestEnds(): void {
    const { machine } = this.primary;
    if (!machine.isRunning) return;
    machine.pause();
    machine.hasEnded = true;
    this.primary.domainEnds();
  }

  /** Through protection where one stands, else by the domain itself. */
  steer(wanted: 'paused' | 'running'): void {
    const { primary } = this;
    if (!primary.isFinal) primary.input({ type: 'guest', wanted });
    else if (wanted === 'paused') primary.machine.pause();
    else if (primary.state.phase === 'unprotected' && primary.process.isAlive) primary.machine.resume();
  }

  ordersPrimary(verb: 'unprotect' | 'switchover' | 'resume-unprotected'): void {
    if (verb === 'resume-unprotected' && !this.#standbyNeverRuns()) return;
    this.primary.input({ type: 'operator', verb });
  }

  ordersStandby(order: 'sighup' | 'disarm' | 'terminate' | 'primary-is-dead'): void {
    if (order === 'primary-is-dead' && !this.#primaryIsDead()) return;
    this.world.checkers.ordered(order);
    this.standby.input({ type: order });
  }

  start(): void {
    this.#spokenAtHealing = this.world.checkers.spoken;
    this.#look();
  }

  #look(): void {
    const { world, primary, standby } = this;
    if (this.#isWell() || this.#isHopeless()) {
      this.isContent = true;
      return;
    }
    if (world.tells) world.tell('operator', `looks: A ${this.#primaryText()}, B ${standby.state.phase}`);
    const { phase } = primary.state;
    const standsStill = phase === 'silent' || (phase === 'handing-over' && primary.state.handover === 'unknown');
    if (this.#runsHere()) this.steer('running');
    // A guest that was paused there comes up paused here.
    if (standby.state.phase === 'running') standby.machine?.resume();
    if (standby.process.isAlive && standby.state.phase === 'silent') this.#standbyIsSilent();
    else if (standsStill && this.#standbyNeverRuns()) this.ordersPrimary('resume-unprotected');
    world.clock.after(LOOK_MS, () => {
      this.#look();
    });
  }

  /** Where the primary lives the standby is disarmed; where it is dead the standby takes over. */
  #standbyIsSilent(): void {
    const { primary } = this;
    if (this.#primaryIsDead() || !primary.machine.isAlive) {
      this.ordersStandby(this.#standbyLooks++ < 3 ? 'sighup' : 'primary-is-dead');
    } else if (primary.state.phase !== 'protected') this.standby.input({ type: 'disarm' });
  }

  #isWell(): boolean {
    const { checkers } = this.world;
    if (checkers.spoken - this.#spokenAtHealing < SPOKEN_ENOUGH) return false;
    const speaker = checkers.resumedBy === 'B' ? this.standby.machine : this.primary.machine;
    if (speaker?.isRunning !== true) return false;
    checkers.survived(speaker.state);
    return true;
  }

  /** Nobody is left who may go on: no rule says that anybody must. */
  #isHopeless(): boolean {
    const { primary, standby, world } = this;
    const { phase } = standby.state;
    const standbyEnded = !standby.process.isAlive || phase === 'ended' || phase === 'receiving';
    if (world.checkers.resumedBy !== undefined) return standbyEnded || standby.machine?.isAlive !== true;
    // It went on alone, and is lost: the standby's copy is older than what the world has seen.
    if (world.hosts.A.wentOnAlone && !this.#runsHere()) return true;
    return standbyEnded && (!this.#runsHere() || primary.machine.hasEnded);
  }

  #runsHere(): boolean {
    const { primary } = this;
    const { phase } = primary.state;
    return primary.process.isAlive && primary.machine.isAlive && phase !== 'ended' && phase !== 'handed-over';
  }

  #primaryText(): string {
    return this.primary.process.isAlive ? this.primary.state.phase : 'dead';
  }

  #primaryIsDead(): boolean {
    return !this.primary.process.isAlive && !this.world.hosts.A.wentOnAlone;
  }

  #standbyNeverRuns(): boolean {
    const { standby, world } = this;
    return (!standby.process.isAlive || standby.state.phase === 'ended') && world.checkers.resumedBy === undefined;
  }
}
