import { KemariError } from '../base/errors.js';

/** One thing that is wrong in a domain file. */
export interface Problem {
  /** The key, with the place in a list: `disk[0].format`. */
  readonly key: string;
  /** What stands there, as text. */
  readonly found: string;
  /** What may stand there, in words. */
  readonly allowed: string;
}

/** More problems than this are counted, not printed. */
const SHOWN_LIMIT = 20;

/** Collects what is wrong, so that a user sees all of it at once. */
export class Problems {
  readonly #list: Problem[] = [];

  add(key: string, found: unknown, allowed: string): void {
    this.#list.push({ key, found: describe(found), allowed });
  }

  get none(): boolean {
    return this.#list.length === 0;
  }

  /** The error for all problems of `source` together (`KEMARI_CONFIG_INVALID`). */
  toError(source: string): KemariError {
    const lines = this.#list
      .slice(0, SHOWN_LIMIT)
      .map(({ key, found, allowed }) => `  ${key}: found ${found}; allowed: ${allowed}`);
    const more = this.#list.length - lines.length;
    if (more > 0) lines.push(`  and ${more} more`);
    const count = this.#list.length === 1 ? 'one problem' : `${this.#list.length} problems`;
    return new KemariError('KEMARI_CONFIG_INVALID', `${source} has ${count}:\n${lines.join('\n')}`, {
      details: { problems: this.#list },
    });
  }
}

const DESCRIPTION_LIMIT = 200;

/** Any value of a domain file, short enough for a message. Never throws. */
function describe(value: unknown): string {
  let text: string;
  if (value === undefined) text = 'nothing';
  else if (typeof value === 'string') text = JSON.stringify(value);
  else if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') text = String(value);
  else if (Array.isArray(value)) text = `a list of ${value.length}`;
  else if (value instanceof Date) text = 'a date';
  else text = 'a table';
  return text.length > DESCRIPTION_LIMIT ? `${text.slice(0, DESCRIPTION_LIMIT)}...` : text;
}
