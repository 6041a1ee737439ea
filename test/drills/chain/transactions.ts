import { messageOf } from '../../../src/base/errors.js';
import type { StagedGuest } from '../../../src/stage/staged-guest.js';

const DATABASE = '/var/lib/drill.db';
const ANSWER_TIMEOUT_MS = 60_000;

/** A commit is the removal of the journal, which by default is not on disk yet when the commit is answered. */
const DURABLE = 'PRAGMA synchronous=EXTRA';

/** SQLite transactions of a client, one after the other, each in two tables and acknowledged once its commit is on disk. */
export class Transactions {
  readonly #guest: StagedGuest;
  readonly #drill: number;
  readonly #acknowledged: number[] = [];
  readonly #faults: string[] = [];
  #stopping = false;
  #asked = 0;
  readonly #run: Promise<void>;

  constructor(guest: StagedGuest, drill: number) {
    this.#guest = guest;
    this.#drill = drill;
    this.#run = this.#transact();
  }

  /** Once a guest has booted. */
  static async prepare(guest: StagedGuest): Promise<void> {
    const tables =
      'CREATE TABLE entry(drill INT, number INT, PRIMARY KEY(drill, number)); CREATE TABLE total(drill INT PRIMARY KEY, count INT);';
    await guest.run(`sqlite3 ${DATABASE} '${tables}'`);
  }

  get acknowledged(): number {
    return this.#acknowledged.length;
  }

  /** The guest has lost its connections: the one under way never gets an answer. */
  async giveUp(): Promise<void> {
    this.#stopping = true;
    await this.#run;
    this.#faults.length = 0;
  }

  /** Waits for the one under way; then looks at the database: whole, atomic, nothing acknowledged lost, nothing unasked there. */
  async stop(): Promise<string[]> {
    this.#stopping = true;
    await this.#run;
    const faults = [...this.#faults];
    const question =
      'PRAGMA integrity_check; ' +
      `SELECT group_concat(number) FROM entry WHERE drill=${this.#drill}; SELECT sum(count) FROM total WHERE drill=${this.#drill};`;
    // Past the page cache: what the disk has.
    const said = await this.#guest.run(`echo 3 >/proc/sys/vm/drop_caches; sqlite3 ${DATABASE} '${question}'`);
    const [integrity, numbers = '', total = ''] = said.trim().split('\n');
    if (integrity !== 'ok') faults.push(`integrity_check says ${integrity ?? 'nothing'}`);
    const found = numbers.split(',').filter(Boolean).map(Number);
    const lost = this.#acknowledged.filter((number) => !found.includes(number));
    if (lost.length > 0) faults.push(`acknowledged transactions lost: ${lost.join(' ')}`);
    if (found.some((number) => number > this.#asked)) faults.push(`transactions that nobody asked for: ${numbers}`);
    if (Number(total) !== found.length)
      faults.push(`${found.length} entries, counted ${total}: a transaction is half there`);
    if (this.#acknowledged.length === 0) faults.push('no transaction was ever acknowledged');
    return faults;
  }

  async #transact(): Promise<void> {
    const drill = this.#drill;
    while (!this.#stopping) {
      const number = (this.#asked += 1);
      const statements =
        `${DURABLE}; BEGIN IMMEDIATE; INSERT INTO entry VALUES(${drill},${number}); ` +
        `INSERT INTO total VALUES(${drill},1) ON CONFLICT(drill) DO UPDATE SET count=count+1; COMMIT;`;
      try {
        await this.#guest.run(`sqlite3 -bail ${DATABASE} '${statements}'`, ANSWER_TIMEOUT_MS);
        this.#acknowledged.push(number);
      } catch (error) {
        this.#faults.push(`transaction ${number}: ${messageOf(error)}`);
        return;
      }
    }
  }
}
