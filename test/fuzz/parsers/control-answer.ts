import { DEPTH_LIMIT } from '../../../src/base/json-lines.js';
import { asKemariError, errorToWire, KemariError } from '../../../src/base/errors.js';
import { readOfferAnswer } from '../../../src/wire/connect.js';
import type { ControlAnswer } from '../../../src/wire/messages.js';
import { readQueryAnswer } from '../../../src/wire/query.js';
import { ACCEPT } from '../../wire/testing.js';
import { feedLines } from '../feed-lines.js';
import type { ParserTarget } from '../parser-target.js';

const nested = '['.repeat(DEPTH_LIMIT);

/** What a primary makes of the answers of what says it is a kemarid. */
export const target: ParserTarget = {
  seeds: [
    { type: 'progress', text: 'starting QEMU' },
    { type: 'accept', accept: ACCEPT },
    { type: 'refuse', error: { code: 'KEMARI_HANDSHAKE_MISMATCH', message: 'no', details: { differences: [] } } },
    { type: 'alive', answer: 'gone', reason: 'it has ended' },
  ]
    .map((each) => `${JSON.stringify(each)}\n`)
    .concat(`{"type":"refuse","error":${nested}1${']'.repeat(DEPTH_LIMIT)}}\n`),
  words: ['"progress"', '"accept"', '"refuse"', '"alive"', '"runs"', '"__proto__":', '"toString":', 'null', nested],
  tryOne: (input) => feedLines(input, (value) => `${offered(value)} / ${queried(value)}`),
};

function offered(value: unknown): string {
  try {
    const accept = readOfferAnswer(value as ControlAnswer);
    return accept === undefined ? 'progress' : 'an accept';
  } catch (error) {
    if (!(error instanceof KemariError)) throw error;
    // It goes on to whoever asked for the migration.
    JSON.stringify(errorToWire(asKemariError(error)));
    return error.message;
  }
}

function queried(value: unknown): string {
  const { answer } = readQueryAnswer(value as ControlAnswer);
  const said = value as { readonly type?: unknown; readonly answer?: unknown } | null;
  if (answer !== 'unreachable' && !(said?.type === 'alive' && said.answer === answer)) {
    throw new Error(`knowledge out of nothing: ${answer}`);
  }
  return answer;
}
