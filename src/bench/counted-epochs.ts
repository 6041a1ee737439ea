import type { EpochFigures } from './ledger.js';
import type { Subject } from './subject.js';

/** The epochs of one measurement: of all of its time, or of the part of it that counts. */
export class CountedEpochs {
  readonly #subject: Pick<Subject, 'epochs'>;
  #part: { readonly figures: EpochFigures | undefined } | undefined;

  constructor(subject: Pick<Subject, 'epochs'>) {
    this.#subject = subject;
  }

  async begin(): Promise<void> {
    await this.#subject.epochs();
  }

  /** What passes while `work` is done counts, nothing else. */
  async only<T>(work: () => Promise<T>): Promise<T> {
    await this.begin();
    const done = await work();
    this.#part = { figures: await this.#subject.epochs() };
    return done;
  }

  async end(): Promise<EpochFigures | undefined> {
    const figures = await this.#subject.epochs();
    return this.#part === undefined ? figures : this.#part.figures;
  }
}
