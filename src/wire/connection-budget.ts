/** Connections at a time that have not been handed on: of all peers together, and of one address. */
export const CONNECTION_LIMIT = 256;
export const CONNECTION_LIMIT_PER_ADDRESS = 32;

/** Bounds what strangers can make a kemarid hold: connections over the budget are closed at once. */
export class ConnectionBudget {
  readonly #byAddress = new Map<string, number>();
  #all = 0;

  /** Connections that are inside. */
  get count(): number {
    return this.#all;
  }

  /** undefined when there is no room; else what is to be called, once or more often, when the connection has left. */
  enter(address: string): (() => void) | undefined {
    const before = this.#byAddress.get(address) ?? 0;
    if (this.#all >= CONNECTION_LIMIT || before >= CONNECTION_LIMIT_PER_ADDRESS) return undefined;
    this.#all++;
    this.#byAddress.set(address, before + 1);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#all--;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    };
  }
}
