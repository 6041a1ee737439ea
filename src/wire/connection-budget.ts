/** Connections at a time that have not asked for anything yet: of all peers together, and of one address. */
export const CONNECTION_LIMIT = 256;
export const CONNECTION_LIMIT_PER_ADDRESS = 32;

/** Ends a connection whose place another one takes. */
type End = () => void;

/**
 * Bounds what strangers can make a kemarid hold. An address that has its share gets no further place. When all places are
 * taken a new connection takes that of the oldest one of the address that has most: whoever has the key is through in
 * milliseconds, so however many knock, those who only wait are the ones that go.
 */
export class ConnectionBudget {
  /** In the order in which they came. */
  readonly #byAddress = new Map<string, Set<End>>();
  #all = 0;

  /** Connections that are inside. */
  get count(): number {
    return this.#all;
  }

  /**
   * undefined when there is no room; else what is to be called, once or more often, when the connection has left. `end` is
   * called at most once, and not after that: the connection has lost its place.
   */
  enter(address: string, end: End): (() => void) | undefined {
    const before = this.#byAddress.get(address)?.size ?? 0;
    if (before >= CONNECTION_LIMIT_PER_ADDRESS) return undefined;
    if (this.#all >= CONNECTION_LIMIT) this.#makeRoom();
    // A value of its own, whoever hands the same function in twice.
    const place: End = () => {
      end();
    };
    const places = this.#byAddress.get(address) ?? new Set();
    this.#byAddress.set(address, places.add(place));
    this.#all++;
    return () => {
      this.#leave(address, place);
    };
  }

  #makeRoom(): void {
    let [crowd, most] = ['', 0];
    for (const [address, { size }] of this.#byAddress) {
      if (size > most) [crowd, most] = [address, size];
    }
    const [oldest] = this.#byAddress.get(crowd) ?? [];
    if (oldest === undefined) return;
    this.#leave(crowd, oldest);
    oldest();
  }

  #leave(address: string, place: End): void {
    const places = this.#byAddress.get(address);
    if (places?.delete(place) !== true) return;
    this.#all--;
    if (places.size === 0) this.#byAddress.delete(address);
  }
}
