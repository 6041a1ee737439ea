import type { Clock } from './clock.js';
import type { HostName } from './host.js';
import type { Random } from './random.js';

/** The wires between both hosts. Each direction may be cut, and is slow or fast. */
export class Network {
  /** By sender. */
  readonly isCut = { A: false, B: false };
  /** A fence, or a host that is off. */
  readonly isOff = { A: false, B: false };
  slowness = 1;
  readonly #pipes: Pipe[] = [];

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  delayMs(): number {
    return this.random.between(0.05, 1) * this.slowness;
  }

  passes(from: HostName): boolean {
    return !this.isCut[from] && !this.isOff.A && !this.isOff.B;
  }

  pipe(from: HostName): Pipe {
    const pipe = new Pipe(this, from);
    this.#pipes.push(pipe);
    return pipe;
  }

  cut(from: HostName, isCut: boolean): void {
    this.isCut[from] = isCut;
    if (!isCut) for (const pipe of this.#pipes) if (pipe.from === from || pipe.isBroken) pipe.flush();
  }
}

/** One direction of a connection: in order, whole, late. What is said while the wire is cut arrives once it is mended (TCP). */
export class Pipe {
  #waiting: (() => void)[] = [];
  #lastArrivalMs = 0;
  #isBroken = false;

  constructor(
    readonly network: Network,
    readonly from: HostName,
  ) {}

  /** The other end knows nothing of this connection any more, and says so when something comes (RST). */
  onReset: () => void = () => undefined;

  send(arrive: () => void, extraMs = 0): void {
    const { network } = this;
    if (this.#isBroken) {
      // Sent again until the wires are mended: the answer comes then.
      if (network.passes('A') && network.passes('B')) network.clock.after(network.delayMs(), this.onReset);
      else this.#waiting.push(arrive);
      return;
    }
    if (!network.passes(this.from)) {
      this.#waiting.push(arrive);
      return;
    }
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, network.clock.nowMs + network.delayMs() + extraMs);
    network.clock.at(this.#lastArrivalMs, () => {
      if (!this.#isBroken) arrive();
    });
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  sendUnlessBroken(arrive: () => void): void {
    if (!this.#isBroken) this.send(arrive);
  }

  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const arrive of waiting) this.send(arrive);
  }

  /** What is on its way is lost, and what comes later. Who waits for its arrival sends it again, and is told. */
  break(): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    if (this.#lastArrivalMs > this.network.clock.nowMs) this.send(() => undefined);
  }
}
