import { waitUntil } from '../base/deadline.js';
import { messageOf } from '../base/errors.js';
import type { HostInstance } from '../model/host-instance.js';
import { isAlive } from './host-id.js';
import { readOwnership } from './ownership-record.js';
import type { HostPaths } from './paths.js';
import { isEnding } from './process-identity.js';

/** Its sockets are closed before its memory is given back, which of a large guest's takes a while: peers ask in between. */
const ENDING_PATIENCE_MS = 400;
const ENDING_POLL_MS = 2;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What a peer wants to know of a process of this host before it goes on with a domain by itself. */
export interface ClaimQuestion {
  readonly domainUuid: string;
  readonly instance: HostInstance;
  /** The asker's: that of the protection which both had a part in. */
  readonly generation: number;
}

export interface Claim {
  readonly answer: 'runs' | 'gone' | 'unknown';
  readonly reason: string;
}

/** What `claimOf` says once a process that is just ending has ended, or takes its time. */
export async function settledClaimOf(host: HostPaths, question: ClaimQuestion): Promise<Claim> {
  const claim = claimOf(host, question);
  if (claim.answer !== 'runs' || !isEnding(question.instance)) return claim;
  await waitUntil(() => !isEnding(question.instance), { timeoutMs: ENDING_PATIENCE_MS, everyMs: ENDING_POLL_MS });
  return claimOf(host, question);
}

/**
 * Whether a process of this host still has a claim to a domain. `gone` only where it ended and had not gone on with the guest
 * without the asker: what the guest did since then would be lost if the asker went on from what it knows. A host notes that
 * durably, as a higher generation, before its guest speaks (commands/ownership.ts).
 */
export function claimOf(host: HostPaths, { domainUuid, instance, generation }: ClaimQuestion): Claim {
  const alive = isAlive(host, instance);
  if (alive.answer !== 'gone') return alive;
  if (!UUID.test(domainUuid)) return { answer: 'unknown', reason: `"${domainUuid}" is no UUID` };
  try {
    const known = readOwnership(host, domainUuid)?.generation ?? 0;
    if (known <= generation) return alive;
    const reason = `${alive.reason}, but the guest went on here without the asker (generation ${known}, asked was ${generation})`;
    return { answer: 'unknown', reason };
  } catch (error) {
    return { answer: 'unknown', reason: `${alive.reason}, but ${messageOf(error)}` };
  }
}
