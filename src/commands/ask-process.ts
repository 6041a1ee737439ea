import { askPeer } from '../cluster/ask-peer.js';
import type { PeerFinding } from '../cluster/contract.js';
import { ping } from '../cluster/ping.js';
import type { PeerAddress, PeerQuestion, Security } from '../wire/contract.js';
import { queryPeer } from '../wire/query.js';

export interface AskProcessOptions {
  readonly addresses: readonly PeerAddress[];
  readonly security: Security;
  readonly question: PeerQuestion;
  /** For each address. */
  readonly timeoutMs: number;
}

/** Asks a host's kemarid, over every path to it, whether a process of a domain runs there. Never rejected. */
export function askProcess({ addresses, ...rest }: AskProcessOptions): Promise<PeerFinding> {
  return askPeer({
    addresses,
    ask: (address) => queryPeer({ address, ...rest }),
    ping: (host) => ping(host, rest.timeoutMs),
  });
}
