import type { PeerKind, PeerPlace } from '../peer-guest.js';

/** What a host is told to run: the peer of a guest that kemari serves there. The first line that its runner reads, as JSON. */
export type PeerOrder = Omit<PeerKind, 'qemu'> & Omit<PeerPlace, 'host' | 'onEvent' | 'incoming'>;

/** Each further line, and what is answered to it and, first of all, once the guest is up. */
export const PEER_ORDERS = ['freeze', 'thaw'] as const;
export const PEER_DONE = 'done';
