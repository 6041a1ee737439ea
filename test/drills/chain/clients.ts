import type { Conversation } from '../../../src/stage/conversation.js';
import { auditLedger, LEDGER_FILE } from '../../../src/stage/ledger-line.js';
import type { StagedGuest } from '../../../src/stage/staged-guest.js';
import { until } from '../../fixtures/two-hosts.js';
import { KeyValueLoad } from './key-value-load.js';
import { TrafficLoad, type TrafficFigures } from './traffic-load.js';
import { Transactions } from './transactions.js';

/** Every write of every conversation with a guest so far, in order, and those that were acknowledged. */
export interface Writes {
  readonly written: string[];
  readonly acknowledged: string[];
}

/** What the clients of a drill saw. */
export interface ClientFigures {
  /** The longest that one waited for an answer, milliseconds; undefined where connections could not be kept. */
  readonly waitMs: number | undefined;
  readonly messages: number;
  readonly operations: number;
  readonly transactions: number;
  readonly traffic: readonly TrafficFigures[];
}

const A_FEW_ANSWERS = 30;
const A_FEW_OPERATIONS = 20;
/** Bounds a failure: over a sync link of 10 Mbit/s each fsync of the guest waits for some epochs, and they for each other. */
const GOES_ON_TIMEOUT_MS = 240_000;

/** The clients of one drill, on a third host: all of them at a time. */
export class Clients {
  readonly #guest: StagedGuest;
  readonly #conversation: Conversation;
  readonly #keyValues: KeyValueLoad;
  readonly #transactions: Transactions;
  readonly #traffic: TrafficLoad;
  #lost = false;

  constructor(guest: StagedGuest, conversation: Conversation, { index, seed }: { index: number; seed: number }) {
    const { client } = guest.stage.machines;
    this.#guest = guest;
    this.#conversation = conversation;
    this.#keyValues = new KeyValueLoad(client, `d${index}:`, seed + index);
    this.#transactions = new Transactions(guest, index);
    this.#traffic = new TrafficLoad(client);
  }

  /** Waits until each of them got some more answers. */
  async goesOn(): Promise<void> {
    const operations = this.#keyValues.answered + A_FEW_OPERATIONS;
    const transactions = this.#transactions.acknowledged + 1;
    const answers = this.#traffic.answered + A_FEW_ANSWERS;
    await this.#conversation.untilAnswered(A_FEW_ANSWERS, GOES_ON_TIMEOUT_MS);
    const have = (): boolean =>
      this.#keyValues.answered >= operations &&
      this.#transactions.acknowledged >= transactions &&
      this.#traffic.answered >= answers;
    await until('Redis, SQLite, pings, datagrams and the stream go on', have, GOES_ON_TIMEOUT_MS);
  }

  /** Its connections ended with the guest, which was started anew: what it had acknowledged must be there all the same. */
  async lost(): Promise<void> {
    this.#lost = true;
    await this.#keyValues.giveUp();
    await this.kill();
    // What still waits for the guest of before is a command of a transaction.
    await this.#guest.stage.machines.client.killAll();
    await this.#transactions.giveUp();
    const { keys } = this.#keyValues;
    const said = await this.#guest.run(`redis-cli mget ${keys.join(' ')}`);
    const values = said.replace(/\n$/, '').split('\n');
    for (const [index, key] of keys.entries()) {
      const value = values[index] ?? '';
      this.#keyValues.noteRead(key, value === '' ? null : Number(value));
    }
  }

  /** Ends them and looks at what they were told and what the guest has. `fromMs`: from when on waits count. */
  async stop(fromMs: number, writes: Writes): Promise<{ readonly figures: ClientFigures; readonly broken: string[] }> {
    const waitMs = this.#lost ? undefined : this.#conversation.longestGapMs(fromMs);
    const traffic = this.#lost ? { figures: [], faults: [] } : await this.#traffic.stop(fromMs);
    const said = await this.#conversation.stop();
    const stored = await this.#keyValues.stop();
    const kept = await this.#transactions.stop();
    writes.written.push(...said.writes);
    writes.acknowledged.push(...said.acknowledged);
    const broken = [...stored.faults, ...kept, ...said.violations, ...traffic.faults];
    if (!this.#lost && said.broken !== undefined) broken.push(`the connection: ${said.broken}`);
    if (!this.#lost && said.unanswered > 0) broken.push(`${said.unanswered} messages without an answer`);
    broken.push(...(await this.#auditWrites(writes)));
    const counts = {
      messages: said.answered,
      operations: stored.answered,
      transactions: this.#transactions.acknowledged,
    };
    return { figures: { waitMs, ...counts, traffic: traffic.figures }, broken };
  }

  /** Ends at once what has a process of its own. Idempotent. */
  async kill(): Promise<void> {
    await this.#conversation.kill();
    await this.#keyValues.kill();
    await this.#traffic.kill();
  }

  /** Past the page cache: what the disk has, by the guest's own word. */
  async #auditWrites({ written, acknowledged }: Writes): Promise<string[]> {
    const text = await this.#guest.run(`echo 3 >/proc/sys/vm/drop_caches; cat ${LEDGER_FILE}`);
    const { lost, doubled, misplaced, strange } = auditLedger(text, written, acknowledged);
    return Object.entries({ lost, doubled, misplaced, strange }).flatMap(([what, lines]) =>
      lines.length === 0 ? [] : [`writes ${what}: ${lines.join(', ')}`],
    );
  }
}
