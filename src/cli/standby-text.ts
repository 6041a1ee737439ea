import type { StandbyInfo, TakeoverFailure } from '../commands/info.js';

/** The part of `kemari info` that says how this host stands by for a domain of another one. */
export function standbyFacts(info: StandbyInfo): (readonly [string, string])[] {
  const { phase, primary, known, policy, failover, epoch, guestPaused, sinceMs, failure } = info;
  return [
    ['stands by', `${phase}, since ${new Date(sinceMs).toISOString()}, ${failover} takeover`],
    ['primary', `${primary}, ${known}, ${policy}`],
    ['epoch', `${epoch}${guestPaused ? ', its operator has paused the guest' : ''}`],
    ...(failure === undefined ? [] : [['failed', failureText(failure)] as const]),
  ];
}

function failureText({ text, atMs, attempts }: TakeoverFailure): string {
  return `${attempts === 1 ? 'once' : `${attempts} times`}, last ${new Date(atMs).toISOString()}: ${text}`;
}
