import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { KemariError, messageOf } from '../../src/base/errors.js';
import { DEMO_IMAGE } from '../../src/stage/demo-image.js';
import type { FailoverFigures } from '../../src/stage/failover.js';
import { rehearse } from '../../src/stage/rehearsal.js';
import { Report } from '../../src/stage/report.js';

/** `npm run demo`: a host dies, the other one carries its guest on, and a client tells what it saw. */

const USAGE = 'usage: npm run demo [-- --json]';
const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

const TAKEOVER_TIMEOUT_MS = 500;
/** The random moment lies within so long. */
const KILL_WITHIN_MS = 3_000;

function summary(figures: FailoverFigures): string {
  const ms = (value: number | undefined): string => (value === undefined ? '-' : `${value.toFixed(0)} ms`);
  return [
    `kill to the guest's first frame:   ${ms(figures.firstFrameMs)} (takeover timeout ${TAKEOVER_TIMEOUT_MS} ms)`,
    `kill to the client's next byte:    ${ms(figures.nextByteMs)}`,
    `longest silence the client saw:    ${ms(figures.clientGapMs)}`,
    `messages answered:                 ${figures.messages}, lost or doubled: 0`,
    `writes acknowledged:               ${figures.acknowledgedWrites}, lost: 0`,
  ].join('\n');
}

async function main(json: boolean): Promise<number> {
  const report = new Report((line) => {
    if (!json) process.stdout.write(`${line}\n`);
  });
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interrupt.abort();
    });
  }
  const options = { image: DEMO_IMAGE, takeoverTimeoutMs: TAKEOVER_TIMEOUT_MS, killAfterMs: randomInt(KILL_WITHIN_MS) };
  const figures = await rehearse(options, report, interrupt.signal);
  const { verified, claims } = report;
  if (json) process.stdout.write(`${JSON.stringify({ verified, figures, claims })}\n`);
  report.step(verified ? 'all of it was verified' : 'something above did not hold');
  if (verified && figures !== undefined) report.quote(summary(figures));
  return verified ? 0 : EXIT_FAILURE;
}

function parse(argv: readonly string[]): { readonly json: boolean } | undefined {
  try {
    return parseArgs({ args: [...argv], options: { json: { type: 'boolean', default: false } } }).values;
  } catch (error) {
    process.stderr.write(`demo: ${messageOf(error)}\n${USAGE}\n`);
    return undefined;
  }
}

const values = parse(process.argv.slice(2));
if (values === undefined) {
  process.exitCode = EXIT_USAGE;
} else {
  process.exitCode = await main(values.json).catch((error: unknown) => {
    process.stderr.write(`demo: ${messageOf(error)}\n`);
    return error instanceof KemariError && error.code === 'KEMARI_INTERRUPTED' ? EXIT_INTERRUPTED : EXIT_FAILURE;
  });
}
