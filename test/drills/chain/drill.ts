import { setTimeout as delay } from 'node:timers/promises';
import { otherHost, type HostName } from '../../../src/stage/names.js';
import { GUEST_MAC } from '../../../src/stage/staged-guest.js';
import type { StorageWitness } from '../../../src/stage/storage-witness.js';
import { nowMs } from '../../../src/stage/wall-clock.js';
import { until, type Scene } from '../../fixtures/two-hosts.js';
import { Clients, type ClientFigures, type Writes } from './clients.js';
import type { EvidenceReader } from './evidence.js';
import { mend, protectAnew, type Fault } from './faults.js';
import { Seeded } from './seeded.js';

/** A guest and where it runs; `conversation` is a drill's own. */
export interface Chain extends Omit<Scene, 'conversation'> {
  host: HostName;
  readonly evidence: EvidenceReader;
  readonly storageWitness: StorageWitness;
  /** How many of the guest's frames, and of its requests of storage, were judged. */
  judged: number;
  judgedChanges: number;
  /** Requests of storage that were seen to leave after their ack. */
  changes: number;
  readonly writes: Writes;
}

/** A drill's place in its run: the seed and the number give all of it again. */
export interface Planned {
  readonly index: number;
  readonly seed: number;
  readonly fault: Fault;
  readonly policy: Policy;
}

export type Policy = 'kemari' | 'strict' | 'remus';

export const POLICIES: Readonly<Record<Policy, readonly string[]>> = {
  kemari: [],
  strict: ['--strict'],
  remus: ['--remus', '--interval', '50'],
};

export interface DrillFigures extends ClientFigures {
  readonly from: HostName;
  readonly to: HostName;
  /** Frames, and writes and flushes, that were seen to leave after the ack of their epoch. */
  readonly frames: number;
  readonly changes: number;
}

const STRIKE_WITHIN_MS = 1_500;
const RUNS_TIMEOUT_MS = 60_000;

/** Waits count from a little before the fault on. */
const BEFORE_MS = 1_000;

/** One drill from a guest that runs to a guest that runs. Errors: what was broken, with everything that was found. */
export async function drill(chain: Chain, planned: Planned): Promise<DrillFigures> {
  const { guest, stage } = chain;
  const { index, seed, fault, policy } = planned;
  const random = new Seeded(seed + index);
  const from = chain.host;
  const struck = { guest, stage, host: from, random };
  const conversation = await guest.converse();
  let clients: Clients | undefined;
  try {
    await protectAnew({ ...chain, conversation }, from, [...POLICIES[policy], ...fault.protection]);
    const startMs = nowMs();
    clients = new Clients(guest, conversation, planned);
    await clients.goesOn();
    await delay(random.between(0, STRIKE_WITHIN_MS));
    const struckAtMs = nowMs();
    await fault.strike(struck);
    await untilItRuns(chain, fault);
    if (fault.goesOn === 'anew') {
      await clients.lost();
    } else {
      await clients.goesOn();
      await fault.settle?.(struck);
      await clients.goesOn();
    }
    const { figures, broken } = await clients.stop(struckAtMs - BEFORE_MS, chain.writes);
    const turns = turnsSince(chain, startMs);
    const expected = chain.host === from ? from : `${from} ${chain.host}`;
    if (turns !== expected) broken.push(`hosts spoke for the guest in the turns ${turns}, expected ${expected}`);
    const { frames, changes, violations } = judgeWhatLeft(chain);
    broken.push(...violations);
    if (frames === 0) broken.push('no frame was seen to leave after its ack: the evidence proves nothing');
    chain.changes += changes;
    if (broken.length > 0) throw new Error(broken.join('\n'));
    await mend(chain, chain.host);
    return { from, to: chain.host, ...figures, frames, changes };
  } finally {
    await clients?.kill();
    await conversation.kill();
  }
}

/** Waits until the guest runs where the fault leaves it, and nowhere else as far as its host can say. */
async function untilItRuns(chain: Chain, fault: Fault): Promise<void> {
  const { guest, host } = chain;
  const there = otherHost(host);
  const runsOn = async (one: HostName): Promise<boolean> => guest.runsOn(one).catch(() => false);
  if (fault.goesOn === 'either') {
    await until('one host runs it', async () => (await runsOn(host)) !== (await runsOn(there)), RUNS_TIMEOUT_MS);
    chain.host = (await runsOn(there)) ? there : host;
    return;
  }
  chain.host = fault.goesOn === 'there' ? there : host;
  await until(`it runs on host ${chain.host}`, () => runsOn(chain.host), RUNS_TIMEOUT_MS);
}

function turnsSince({ witness }: Chain, sinceMs: number): string {
  const hosts = witness.framesOf(GUEST_MAC, sinceMs).map(({ host }) => host);
  return hosts.filter((host, place) => host !== hosts[place - 1]).join(' ');
}

/** Whether everything that was seen to leave the guest since the last time left in its time, and how much waited for an ack. */
export function judgeWhatLeft(chain: Chain): { frames: number; changes: number; violations: readonly string[] } {
  const { witness, storageWitness, evidence } = chain;
  const seen = witness.framesOf(GUEST_MAC);
  const changed = [...storageWitness.changes];
  // What was seen has been noted by now.
  evidence.catchUp();
  const frames = evidence.evidence.judge(seen.slice(chain.judged));
  const changes = evidence.evidence.judgeChanges(changed.slice(chain.judgedChanges));
  chain.judged = seen.length;
  chain.judgedChanges = changed.length;
  return {
    ...{ frames: frames.acknowledged, changes: changes.acknowledged },
    violations: [...frames.violations, ...changes.violations],
  };
}
