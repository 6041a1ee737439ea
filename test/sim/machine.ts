import type { Appointment } from './clock.js';
import { Gate } from './gate.js';
import { nextOutput, type GuestState, type Output } from './guest.js';
import type { Process } from './host.js';
import type { World } from './world.js';

/** A guest on a host: its program, and the rings of the process that serves it. */
export class Machine {
  readonly gate: Gate;
  isAlive = true;
  isRunning = false;
  /** It powered off: nothing more is done. */
  hasEnded = false;
  #tick: Appointment | undefined;
  #onDisk = 0;

  constructor(
    readonly world: World,
    readonly process: Process,
    readonly state: GuestState,
  ) {
    this.gate = new Gate(
      process.host,
      process.thread('disk ring'),
      process.thread('net ring'),
      (output, testedAtMs) => {
        this.#submit(output, testedAtMs);
      },
      world.engine.flaws?.gateIgnoresLease === true,
    );
  }

  resume(): void {
    if (!this.isAlive || this.isRunning || this.hasEnded) return;
    this.isRunning = true;
    this.#tell();
    this.#plan();
  }

  pause(): void {
    this.isRunning = false;
    if (this.#tick !== undefined) this.#tick.act = undefined;
  }

  /** QEMU is gone. */
  die(): void {
    this.pause();
    this.isAlive = false;
  }

  /** The machine and its devices: nothing that was not submitted before leaves. */
  end(): void {
    this.die();
    this.gate.shut();
  }

  /** Rings are started with what the checkpoint holds: it is sent again, in its order. */
  replay(): void {
    for (const output of this.state.pending) this.gate.admit(output);
  }

  /** No thread of a device is about to submit anything. */
  get isQuiet(): boolean {
    return this.gate.isQuiet;
  }

  /** And storage has answered all that was. */
  get isDrained(): boolean {
    return this.isQuiet && this.#onDisk === 0;
  }

  #plan(): void {
    this.#tick = this.world.clock.after(this.world.random.between(1, this.world.guestTickMs), () => {
      if (!this.isRunning || !this.process.isAlive) return;
      this.#act();
      this.#plan();
    });
  }

  #act(): void {
    const { state, world } = this;
    if (state.pending.length > 40) return;
    world.checkers.guestReads(state, world.storage.sectors);
    this.#issue(nextOutput(state, world.random, world.nextUid()));
  }

  #issue(output: Output): void {
    this.state.head = output.uid;
    this.state.pending.push(output);
    this.gate.admit(output);
  }

  #submit(output: Output, testedAtMs: number): void {
    const { world, process } = this;
    const { name } = process.host;
    if (output.kind !== 'write') {
      if (!world.network.isOff[name]) world.checkers.left(output, name, testedAtMs);
      this.#complete(output);
      return;
    }
    if (world.storage.isFenced[name]) return;
    world.checkers.left(output, name, testedAtMs);
    this.#onDisk++;
    const isCached = world.engine.flaws?.answersBeforeLanding === true;
    if (isCached) this.#complete(output);
    world.storage.submit(output, name, world.clock.nowMs > testedAtMs, () => {
      if (!process.isAlive) return;
      this.#onDisk--;
      if (!isCached) this.#complete(output);
    });
  }

  /** The used ring. A guest that stands still finds it when it goes on. */
  #complete(output: Output): void {
    const { state, world } = this;
    this.gate.answered(output);
    state.pending = state.pending.filter((pending) => pending !== output);
    if (output.kind !== 'write') return;
    state.known[output.sector] = output;
    if (!world.random.chance(0.7)) return;
    state.toTell.push(output);
    if (this.isRunning) this.#tell();
  }

  /** The client hears of what is on disk. */
  #tell(): void {
    const { state, world } = this;
    for (const write of state.toTell.splice(0)) {
      this.#issue({ uid: world.nextUid(), life: state.life, kind: 'frame', sector: write.sector, tells: write });
    }
  }
}
