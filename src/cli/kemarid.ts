#!/usr/bin/env node
import yargs from 'yargs';
import { pino } from 'pino';
import { resolveRoot } from '../commands/context.js';
import { runKemarid, type KemaridOptions } from '../commands/kemarid.js';
import { resolveSecurity } from '../commands/security.js';
import { hostAddress } from './addresses.js';
import { printError, usageError } from './output.js';
import { packageVersion } from './version.js';

const HELP_WIDTH = 100;
const MS_PER_S = 1000;
const STDOUT_FD = 1;

interface Arguments {
  readonly root: string | undefined;
  readonly listen: readonly string[];
  readonly key: string | undefined;
  readonly plain: boolean;
  readonly fenceCmd: string | undefined;
  readonly fenceTimeout: number;
  readonly overcommit: boolean;
}

function parse(argv: readonly string[]): Promise<Arguments> {
  return yargs([...argv])
    .scriptName('kemarid')
    .locale('en')
    .usage(
      '$0\n\nAccepts domains of other hosts for which this one is to stand by, and moves to it. Runs in the foreground.',
    )
    .option('root', { type: 'string', requiresArg: true, describe: "Directory of the host's state (or KEMARI_ROOT)" })
    .option('listen', {
      type: 'string',
      array: true,
      default: ['0.0.0.0'],
      requiresArg: true,
      describe: 'ADDRESS or ADDRESS:PORT ([ADDRESS]:PORT for IPv6); port 8002 where none is given; may be repeated',
    })
    .option('key', { type: 'string', requiresArg: true, describe: 'Key file (or KEMARI_KEY_FILE; /etc/kemari/key)' })
    .option('plain', { type: 'boolean', default: false, describe: 'No encryption, and anybody may use this host' })
    .option('fence-cmd', {
      type: 'string',
      requiresArg: true,
      describe: 'Shell command that makes sure that the other host is off; exit code 0 says that it is',
    })
    .option('fence-timeout', { type: 'number', default: 30, describe: 'Seconds after which a fence has failed' })
    .option('overcommit', { type: 'boolean', default: false, describe: 'Accept guests larger than the memory left' })
    .version(packageVersion())
    .help()
    .wrap(HELP_WIDTH)
    .strict()
    .exitProcess(false)
    .fail((message, error) => {
      throw error instanceof Error && error.name !== 'YError' ? error : usageError(`${message}; see kemarid --help`);
    })
    .parseAsync();
}

function kemaridOptions(args: Arguments, terminate: AbortSignal): KemaridOptions {
  if (!(args.fenceTimeout > 0)) throw usageError(`--fence-timeout takes seconds; found ${args.fenceTimeout}`);
  const { fenceCmd, fenceTimeout } = args;
  const logger = pino(
    { level: 'info', base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: STDOUT_FD, sync: true }),
  );
  const listen = args.listen.map(hostAddress);
  return {
    root: resolveRoot(args.root),
    listen,
    security: resolveSecurity(args),
    fence: fenceCmd === undefined ? undefined : { command: fenceCmd, timeoutMs: fenceTimeout * MS_PER_S },
    overcommit: args.overcommit,
    version: packageVersion(),
    logger,
    onListening: (ports) => {
      const places = listen.map(({ host }, index) => `${host} port ${ports[index] ?? 0}`);
      process.stdout.write(`kemarid: listening on ${places.join(', ')}\n`);
    },
    terminate,
  };
}

async function main(argv: readonly string[]): Promise<number> {
  const terminate = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      terminate.abort();
    });
  }
  // It has no configuration to read anew; the end of a terminal is no order to end.
  process.on('SIGHUP', () => undefined);
  try {
    const args = await parse(argv);
    if (argv.some((word) => word === '--help' || word === '--version')) return 0;
    await runKemarid(kemaridOptions(args, terminate.signal));
    return 0;
  } catch (error) {
    return printError(error, false);
  }
}

process.exit(await main(process.argv.slice(2)));
