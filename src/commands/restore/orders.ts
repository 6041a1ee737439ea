import { FIRST_EXTRA_FD } from '../../host/startup.js';
import type { Offer, PeerAddress } from '../../wire/contract.js';

/** What a restore process inherits from kemarid besides what every kemari-dm does. */
export const ORDERS_FD = FIRST_EXTRA_FD;
export const DESCRIPTORS_FD = FIRST_EXTRA_FD + 1;

/** The first order, before anything else: what to stand by for. */
export interface StandByOrder {
  readonly order: 'stand-by';
  readonly offer: Offer;
  /** 32 bytes, hexadecimal; null: plain. */
  readonly key: string | null;
  /** 16 bytes, hexadecimal. */
  readonly token: string;
  readonly fence: { readonly command: string; readonly timeoutMs: number } | null;
  /** Where this host's own kemarid can be asked. */
  readonly ownAddresses: readonly PeerAddress[];
  /** Do not compare the guest's memory with what this host has left. */
  readonly overcommit: boolean;
}

/** A connection of the primary has come; its descriptor waits on DESCRIPTORS_FD. */
export interface LinkOrder {
  readonly order: 'link';
  readonly kind: 'stream' | 'lease';
}

/** JSON lines from kemarid to the restore process on ORDERS_FD. When they end before both links came, nobody will come. */
export type RestoreOrder = StandByOrder | LinkOrder;
