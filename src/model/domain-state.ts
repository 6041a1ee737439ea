/** xl's one-letter states, in the order `kemari list` prints them. */
export type DomainState =
  /** QEMU is being started. */
  | 'starting'
  /** Another host runs the guest; this one holds a copy and may take over. */
  | 'standby'
  | 'running'
  /** By the user, or created with --paused. */
  | 'paused'
  /** The guest was asked to power off and has not yet. */
  | 'shutting-down'
  /** Ended by itself and kept for inspection (`preserve`). */
  | 'shutdown'
  | 'crashed'
  /** On its way out: processes are being taken down. */
  | 'dying';
