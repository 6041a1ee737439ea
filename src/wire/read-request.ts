import { checkProtocol } from './compare.js';
import type { Offer, PeerQuestion } from './contract.js';
import { readInstance } from './read-accept.js';
import { readOffer } from './read-offer.js';
import { Shape } from './shape.js';

/** A request that was checked: what a kemarid acts on. */
export type CheckedRequest =
  | { readonly type: 'protect'; readonly offer: Offer }
  | { readonly type: 'peer-alive'; readonly question: PeerQuestion };

/**
 * Checks the one request of a control connection (README.md, "Control"). Pure.
 *
 * Errors: `KEMARI_PEER_PROTOCOL`, `KEMARI_HANDSHAKE_PROTOCOL`.
 */
export function readRequest(value: unknown): CheckedRequest {
  const shape = Shape.of('request', value);
  const { protocol, offer } = value as { readonly protocol?: unknown; readonly offer?: unknown };
  checkProtocol(protocol);
  if (shape.oneOf('type', ['protect', 'peer-alive']) === 'protect') return { type: 'protect', offer: readOffer(offer) };
  const question = {
    domainUuid: shape.text('domainUuid'),
    instance: readInstance(shape.inner('instance')),
    generation: shape.integer('generation', 0, Number.MAX_SAFE_INTEGER),
  };
  return { type: 'peer-alive', question };
}
