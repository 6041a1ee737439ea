/** One end of a long cable: an interface that it makes in a network namespace, which is down and has no address. */
export interface DelayLineEnd {
  /** As of setns(2). */
  readonly namespacePath: string;
  readonly device: string;
}

export interface DelayLineOptions {
  readonly near: DelayLineEnd;
  readonly far: DelayLineEnd;
  /** From one end to the other, in [1, 1 000 000]. */
  readonly delayUs: number;
}

/**
 * A cable on which frames are under way for a time; what the kernel does by itself where it has netem. Errors of its making:
 * KEMARI_NET_TAP, KEMARI_NET_TAP_EXISTS, KEMARI_NET_NO_TUN, KEMARI_NET_PERMISSION.
 */
export interface DelayLine {
  /** Its interfaces are gone, and what was under way is lost. Idempotent. */
  close(): void;
}
