import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/errors.js';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { endure, growthText, PAUSE_LIMIT } from './endure.js';

/** `npm run endure`: an hour protected under load, on a machine with nothing else to do. */

const HELP = `usage: npm run endure -- [options]
  --minutes N      how long the guest is protected (default 60)
  --json FILE      also write the report
Exit code 0 only if what the processes take stayed flat, the client lost nothing, and the 99th percentile of the pauses of
the last sixth is at most ${PAUSE_LIMIT} times that of the first.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const minutes = Number(values.minutes);
  if (!(minutes >= 1)) throw new RangeError(`--minutes takes a number from 1 on; found ${values.minutes}`);
  if (GUEST_MISSING !== undefined) throw new Error(`it needs ${GUEST_MISSING}`);
  const report = await endure({
    durationMs: minutes * 60_000,
    say: (text) => {
      process.stderr.write(`endure: ${text}\n`);
    },
  });
  for (const each of report.watched) {
    process.stdout.write(`${each.flat ? 'ok  ' : 'FAIL'} ${each.who}: ${growthText(each)}\n`);
  }
  const { first, last, ratio } = report.pauseP99Us;
  const { load } = report;
  const steady = ratio <= PAUSE_LIMIT;
  process.stdout.write(
    `${steady ? 'ok  ' : 'FAIL'} pause, 99th percentile: first sixth ${(first / 1000).toFixed(2)} ms, last sixth ` +
      `${(last / 1000).toFixed(2)} ms, ${ratio.toFixed(2)} times; at most ${PAUSE_LIMIT} ` +
      `(load average ${load.first.toFixed(1)} and ${load.last.toFixed(1)})\n`,
  );
  process.stdout.write(`${report.epochs} epochs, ${report.messages} messages in ${minutes} minutes\n`);
  for (const text of report.broken) process.stdout.write(`broken: ${text}\n`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  return report.broken.length === 0 && steady ? 0 : 1;
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`endure: ${messageOf(error)}\n`);
  process.exit(1);
}
