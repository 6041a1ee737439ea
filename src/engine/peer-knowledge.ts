/**
 * What is known of the other side's process. Only its own kemarid, authenticated, can say that it is gone; a broken
 * connection, a FIN, an RST or an answered ping prove nothing.
 */
export type PeerKnowledge = 'alive' | 'silent' | 'dead';

/** An answer to the question whether the peer's process still runs. `unreachable`: nobody answered, on any path. */
export type PeerAnswer = 'runs' | 'gone' | 'unreachable';

/** Knowledge never becomes certainty by silence, and death is final. */
export function learn(known: PeerKnowledge, answer: PeerAnswer): PeerKnowledge {
  if (known === 'dead' || answer === 'gone') return 'dead';
  return answer === 'runs' ? 'alive' : 'silent';
}
