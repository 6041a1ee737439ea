/** States of either end of a split driver (xen/include/public/io/xenbus.h). */
export const XenbusState = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
} as const;

/**
 * Who serves a device, in its node of this name: without one the host's kemarid; else this, the domain's kemari-dm. Whoever is
 * named there waits until the other says in `kemari-status` that it has let go.
 */
export const SERVER_NODE = 'kemari-server';
export const DEVICE_MODEL_SERVER = 'dm';

/** What a node says as a number; 0 where there is none or it is no number. */
export function numberIn(text: string | undefined): number {
  const value = Number(text ?? '0');
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
