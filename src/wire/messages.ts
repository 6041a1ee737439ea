import type { WireError } from '../base/errors.js';
import type { Accept, Offer, PeerQuestion } from './contract.js';

/** One line of the control connection each way, after TLS (README.md, "Control"). A connection carries one request. */
export type ControlRequest =
  | { readonly type: 'protect'; readonly protocol: number; readonly offer: Offer }
  | ({ readonly type: 'peer-alive'; readonly protocol: number } & PeerQuestion);

/** Any number of `progress` come before one of the others. */
export type ControlAnswer =
  | { readonly type: 'progress'; readonly text: string }
  | { readonly type: 'accept'; readonly accept: Accept }
  | { readonly type: 'refuse'; readonly error: WireError }
  /** `unknown`: that host, or that process, cannot be seen from here. */
  | { readonly type: 'alive'; readonly answer: 'runs' | 'gone' | 'unknown'; readonly reason: string };
