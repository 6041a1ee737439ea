import { setTimeout as delay } from 'node:timers/promises';
import { auditLedger, LEDGER_FILE } from '../../../src/stage/ledger-line.js';
import { otherHost, type HostName } from '../../../src/stage/names.js';
import { GUEST_MAC } from '../../../src/stage/staged-guest.js';
import { nowMs } from '../../../src/stage/wall-clock.js';
import { until, type Scene } from '../../fixtures/two-hosts.js';
import type { EvidenceReader, Verdict } from './evidence.js';
import { mend, protectAnew, type Fault } from './faults.js';
import { KeyValueLoad } from './key-value-load.js';
import { Seeded } from './seeded.js';
import { TrafficLoad, type TrafficFigures } from './traffic-load.js';
import { Transactions } from './transactions.js';

/** A guest and where it runs; `conversation` is a drill's own. */
export interface Chain extends Omit<Scene, 'conversation'> {
  host: HostName;
  readonly evidence: EvidenceReader;
  /** How many of the guest's frames were judged. */
  judged: number;
  /** Every write of every conversation so far, in order, and those that were acknowledged. */
  readonly written: string[];
  readonly acknowledged: string[];
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

export interface DrillFigures {
  readonly from: HostName;
  readonly to: HostName;
  /** The longest that the client waited for an answer, from just before the fault on. */
  readonly waitMs: number;
  readonly messages: number;
  readonly operations: number;
  readonly transactions: number;
  /** Frames that were seen to leave after the ack of their epoch. */
  readonly frames: number;
  readonly traffic: readonly TrafficFigures[];
}

const A_FEW_ANSWERS = 30;
const A_FEW_OPERATIONS = 20;
const STRIKE_WITHIN_MS = 1_500;
const GOES_ON_TIMEOUT_MS = 60_000;

/** One drill from a guest that runs to a guest that runs. Errors: what was broken, with everything that was found. */
export async function drill(chain: Chain, { index, seed, fault, policy }: Planned): Promise<DrillFigures> {
  const { guest, stage } = chain;
  const random = new Seeded(seed + index);
  const from = chain.host;
  const struck = { guest, stage, host: from, random };
  const protection = [...POLICIES[policy], ...fault.protection];
  const conversation = await guest.converse();
  try {
    await protectAnew({ ...chain, conversation }, from, protection);
    const startMs = nowMs();
    const keyValues = new KeyValueLoad(stage.machines.client, `d${index}:`, seed + index);
    const transactions = new Transactions(guest, index);
    const traffic = new TrafficLoad(stage.machines.client);
    const goesOn = async (): Promise<void> => {
      const wanted = {
        operations: keyValues.answered + A_FEW_OPERATIONS,
        transactions: transactions.acknowledged + 1,
        answers: traffic.answered + A_FEW_ANSWERS,
      };
      await conversation.untilAnswered(A_FEW_ANSWERS, GOES_ON_TIMEOUT_MS);
      await until(
        'Redis, SQLite, pings, datagrams and the stream go on',
        () =>
          keyValues.answered >= wanted.operations &&
          transactions.acknowledged >= wanted.transactions &&
          traffic.answered >= wanted.answers,
        GOES_ON_TIMEOUT_MS,
      );
    };
    try {
      await goesOn();
      await delay(random.between(0, STRIKE_WITHIN_MS));
      const struckAtMs = nowMs();
      await fault.strike(struck);
      await untilItRuns(chain, fault);
      await goesOn();
      await fault.settle?.(struck);
      await goesOn();
      const fromMs = struckAtMs - 1_000;
      const waitMs = conversation.longestGapMs(fromMs);
      const { figures, faults } = await traffic.stop(fromMs);
      const [said, stored, kept] = [await conversation.stop(), await keyValues.stop(), await transactions.stop()];
      chain.written.push(...said.writes);
      chain.acknowledged.push(...said.acknowledged);
      const broken = [...stored.faults, ...kept, ...said.violations, ...faults];
      if (said.broken !== undefined) broken.push(`the connection: ${said.broken}`);
      if (said.unanswered > 0) broken.push(`${said.unanswered} messages without an answer`);
      const turns = turnsSince(chain, startMs);
      const expected = chain.host === from ? from : `${from} ${chain.host}`;
      if (turns !== expected) broken.push(`hosts spoke for the guest in the turns ${turns}, expected ${expected}`);
      broken.push(...(await auditWrites(chain)));
      const { acknowledged, violations } = judgeFrames(chain);
      broken.push(...violations);
      if (acknowledged === 0) broken.push('no frame was seen to leave after its ack: the evidence proves nothing');
      if (broken.length > 0) throw new Error(broken.join('\n'));
      await mend(chain, chain.host);
      const counts = {
        messages: said.answered,
        operations: stored.answered,
        transactions: transactions.acknowledged,
        frames: acknowledged,
      };
      return { from, to: chain.host, waitMs, ...counts, traffic: figures };
    } finally {
      await keyValues.kill();
      await traffic.kill();
    }
  } finally {
    await conversation.kill();
  }
}

/** Waits until the guest runs where the fault leaves it, and nowhere else as far as its host can say. */
async function untilItRuns(chain: Chain, fault: Fault): Promise<void> {
  const { guest, host } = chain;
  const there = otherHost(host);
  const runsOn = async (one: HostName): Promise<boolean> => guest.runsOn(one).catch(() => false);
  if (fault.goesOn === 'either') {
    await until('one host runs it', async () => (await runsOn(host)) !== (await runsOn(there)), GOES_ON_TIMEOUT_MS);
    chain.host = (await runsOn(there)) ? there : host;
    return;
  }
  chain.host = fault.goesOn === 'there' ? there : host;
  await until(`it runs on host ${chain.host}`, () => runsOn(chain.host), GOES_ON_TIMEOUT_MS);
}

function turnsSince({ witness }: Chain, sinceMs: number): string {
  const hosts = witness.framesOf(GUEST_MAC, sinceMs).map(({ host }) => host);
  return hosts.filter((host, place) => host !== hosts[place - 1]).join(' ');
}

/** Whether every frame of the guest that was seen since the last time left in its time. */
export function judgeFrames(chain: Chain): Verdict {
  const seen = chain.witness.framesOf(GUEST_MAC);
  chain.evidence.catchUp();
  const verdict = chain.evidence.evidence.judge(seen.slice(chain.judged));
  chain.judged = seen.length;
  return verdict;
}

/** Past the page cache: what the disk has, by the guest's own word. */
async function auditWrites({ guest, written, acknowledged }: Chain): Promise<string[]> {
  const text = await guest.run(`echo 3 >/proc/sys/vm/drop_caches; cat ${LEDGER_FILE}`);
  const { lost, doubled, misplaced, strange } = auditLedger(text, written, acknowledged);
  return Object.entries({ lost, doubled, misplaced, strange }).flatMap(([what, lines]) =>
    lines.length === 0 ? [] : [`writes ${what}: ${lines.join(', ')}`],
  );
}
