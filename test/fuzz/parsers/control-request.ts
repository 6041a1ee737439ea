import { DEPTH_LIMIT } from '../../../src/base/json-lines.js';
import { errorFromWire, errorToWire, KemariError } from '../../../src/base/errors.js';
import { compareBootFiles, compareDisks, compareMachines, refuseDifferences } from '../../../src/wire/compare.js';
import { PROTOCOL_VERSION } from '../../../src/wire/contract.js';
import { decodePreamble, encodePreamble, NO_TOKEN, PREAMBLE_BYTES } from '../../../src/wire/preamble.js';
import { readRequest, type CheckedRequest } from '../../../src/wire/read-request.js';
import { INSTANCE, MACHINE, offer } from '../../wire/testing.js';
import { feedLines } from '../feed-lines.js';
import type { ParserTarget } from '../parser-target.js';

const ALLOWED = ['KEMARI_PROTOCOL', 'KEMARI_PEER_PROTOCOL', 'KEMARI_HANDSHAKE_PROTOCOL', 'KEMARI_HANDSHAKE_MISMATCH'];

const CONTROL = encodePreamble({ kind: 'control', token: NO_TOKEN }).toString('latin1');
const PROTECT = { type: 'protect', protocol: PROTOCOL_VERSION, offer: offer() };
const ALIVE = { type: 'peer-alive', protocol: PROTOCOL_VERSION, domainUuid: 'u', instance: INSTANCE, generation: 1 };
const nested = '['.repeat(DEPTH_LIMIT);

/** All that a kemarid reads of a stranger, from the preamble to the offer, and what it compares of that with its own. */
export const target: ParserTarget = {
  seeds: [
    ...[PROTECT, ALIVE].map((request) => `${CONTROL}${JSON.stringify(request)}\n`),
    `${CONTROL}{"type":"protect","protocol":${nested}1${']'.repeat(DEPTH_LIMIT)}}\n`,
    encodePreamble({ kind: 'lease', token: 'ab'.repeat(16) }).toString('latin1'),
  ],
  words: ['"protect"', '"peer-alive"', '"__proto__":', '"toString":', 'null', '1e400', '-0', nested, '\n', '\\u0000'],
  tryOne(input) {
    const head = input.subarray(0, PREAMBLE_BYTES);
    const preamble = decodePreamble(head);
    if (preamble === undefined) return 'no preamble';
    if (!encodePreamble(preamble).equals(head)) throw new Error('a preamble reads as another');
    if (preamble.kind !== 'control') return preamble.kind;
    return feedLines(input.subarray(PREAMBLE_BYTES), (value) => told(() => answer(readRequest(value))));
  },
};

function answer(request: CheckedRequest): string {
  const again = readRequest({ protocol: PROTOCOL_VERSION, ...JSON.parse(JSON.stringify(flat(request))) });
  if (JSON.stringify(again) !== JSON.stringify(request)) throw new Error('a request that was read reads as another');
  if (request.type === 'peer-alive') return 'a question';
  const own = offer();
  refuseDifferences(request.offer.config.name, [
    ...compareMachines(request.offer.machine, MACHINE),
    ...compareBootFiles(request.offer.bootFiles, own.bootFiles),
    ...compareDisks(request.offer.disks, own.disks),
  ]);
  return 'an offer that fits';
}

/** As it travels. */
function flat(request: CheckedRequest): object {
  return request.type === 'protect' ? request : { type: request.type, ...request.question };
}

/** What a stranger would be told. */
function told(body: () => string): string {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof KemariError) || !ALLOWED.includes(error.code)) throw error;
    const back = errorFromWire(JSON.parse(JSON.stringify(errorToWire(error))));
    if (back.code !== error.code || back.message !== error.message) throw new Error('a refusal travels as another');
    return error.message;
  }
}
