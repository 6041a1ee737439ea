/** When a domain is synchronized, and when it goes on after a capture. */
export type SyncPolicy =
  /** An outbound request is held: synchronize. `strict`: the guest goes on after the ack, as in Kemari 2008. */
  | { readonly kind: 'kemari'; readonly strict: boolean }
  /** By the clock. */
  | { readonly kind: 'remus'; readonly intervalMs: number };

/** How an operator wants a domain protected, or moved. */
export interface ProtectionOptions {
  /** `move`: memory is copied, the guest stops once, and goes on over there. */
  readonly purpose: 'protect' | 'move';
  readonly policy: SyncPolicy;
  /** What to do when the standby is silent: hold all output, or go on unprotected. */
  readonly onSilence: 'hold' | 'continue';
  /** Whether the standby takes over by itself once the primary is silent; its host's kemarid then needs a fence. */
  readonly failover: 'manual' | 'auto';
  /** Of the guest's time, that pauses and write-protect faults may take, in (0, 1]. */
  readonly maxPauseShare: number;
  /** A silent guest is synchronized this often. */
  readonly maxAgeMs: number;
  /** Silence after which the standby may act; the lease is LEASE_SHARE of it. */
  readonly takeoverTimeoutMs: number;
  /** Whether pages are made smaller before they are sent. Pages of zeroes, and those that the standby has, always are. */
  readonly compress: Compression;
}

/** `auto`: where it costs less time than it saves on this link. */
export type Compression = (typeof COMPRESSIONS)[number];
export const COMPRESSIONS = ['auto', 'always', 'never'] as const;

export const REMUS_INTERVAL_MS = { min: 5, default: 100, max: 10_000 } as const;
export const MAX_PAUSE_SHARE = { min: 0.01, default: 0.2, max: 1 } as const;
export const MAX_AGE_MS = { min: 10, default: 1_000, max: 60_000 } as const;
export const TAKEOVER_TIMEOUT_MS = { min: 100, default: 500, max: 60_000 } as const;

/** Usually enough for both ends of a link. */
const LINK_CONNECT_TIMEOUT_MS = 5_000;

/** The lease is this share of the takeover timeout, so that it is over before the standby acts. */
export const LEASE_SHARE = 0.6;

/**
 * How long both ends of a link may take to agree on it: hosts so slow that a silence of such length means nothing need that
 * long for a handshake, too.
 */
export function linkConnectTimeoutMs({ takeoverTimeoutMs }: Pick<ProtectionOptions, 'takeoverTimeoutMs'>): number {
  return Math.max(LINK_CONNECT_TIMEOUT_MS, takeoverTimeoutMs);
}

export const DEFAULT_PROTECTION: ProtectionOptions = {
  purpose: 'protect',
  policy: { kind: 'kemari', strict: false },
  onSilence: 'hold',
  failover: 'manual',
  maxPauseShare: MAX_PAUSE_SHARE.default,
  maxAgeMs: MAX_AGE_MS.default,
  takeoverTimeoutMs: TAKEOVER_TIMEOUT_MS.default,
  compress: 'auto',
};

/** The options as one would type them: `kemari --strict`, `remus every 100 ms`, `live`. */
export function policyText(options: Pick<ProtectionOptions, 'purpose' | 'policy'>): string {
  if (options.purpose === 'move') return 'live';
  const { policy } = options;
  if (policy.kind === 'remus') return `remus every ${policy.intervalMs} ms`;
  return policy.strict ? 'kemari, strict' : 'kemari, pipelined';
}
