/**
 * What the link takes for what epochs carry, learned from their acks: how long a byte keeps those behind it waiting. Bytes are
 * counted before encoding, so that what is sent small, or not at all, is quick here too.
 */
export interface WirePace {
  /** What the shortest message and its answer took; an ack that nothing was ahead of took that, too, whatever it covers. */
  readonly roundTripMs: number;
  /** Of what was acknowledged lately, the older the less: the time on the wire, and the bytes. */
  readonly wireMs: number;
  readonly bytes: number;
  /** When the last ack came. */
  readonly ackedAtMs: number;
}

/** An epoch on its way. */
export interface OnItsWay {
  readonly sentFromMs: number;
  readonly bytes: number;
}

/** What each ack leaves of what was known before. */
const OLD_SHARE = 0.75;

export function startWirePace(roundTripMs: number, nowMs: number): WirePace {
  return { roundTripMs, wireMs: 0, bytes: 0, ackedAtMs: nowMs };
}

/** An ack came now and covers these epochs, oldest first. */
export function noteWire(pace: WirePace, covered: readonly OnItsWay[], nowMs: number): WirePace {
  const [first] = covered;
  if (first === undefined) return pace;
  const wasBehind = first.sentFromMs < pace.ackedAtMs;
  const wireMs = wasBehind ? nowMs - pace.ackedAtMs : nowMs - first.sentFromMs - pace.roundTripMs;
  return {
    ...pace,
    wireMs: pace.wireMs * OLD_SHARE + Math.max(0, wireMs),
    bytes: pace.bytes * OLD_SHARE + covered.reduce((sum, { bytes }) => sum + bytes, 0),
    ackedAtMs: nowMs,
  };
}

/** How long the link needs for so much; 0 while nothing is known of it. */
export function wireTimeMs({ wireMs, bytes }: WirePace, ofBytes: number): number {
  return bytes === 0 ? 0 : (wireMs / bytes) * ofBytes;
}

/** How much passes the link within that time; Infinity while nothing is known of it. */
export function bytesWithin({ wireMs, bytes }: WirePace, ms: number): number {
  return wireMs === 0 ? Infinity : (bytes / wireMs) * ms;
}
