#!/usr/bin/env node
import yargs, { type Argv } from 'yargs';
import { Interrupt } from './interrupt.js';
import { completions } from './completion.js';
import { packageVersion } from './version.js';
import { addProtection } from './protection-verbs.js';
import { EXIT_OK, printError, usageError } from './output.js';
import { addBench } from './bench-verb.js';
import { addDrill } from './drill-verb.js';
import { addStandby } from './standby-verbs.js';
import { addCreate, addEnding, addLooking, addSteering, type GlobalArguments } from './verbs.js';

const HELP_WIDTH = 100;

function buildProgram(argv: readonly string[], interrupt: Interrupt): Argv<GlobalArguments> {
  let program = yargs([...argv])
    .scriptName('kemari')
    .locale('en')
    .usage('$0 <verb>\n\nRuns virtual machines whose every disk and network request passes through kemari.')
    .option('root', {
      type: 'string',
      requiresArg: true,
      describe: "Directory of the host's state (or KEMARI_ROOT; /run/kemari)",
      global: true,
    })
    .option('json', { type: 'boolean', default: false, describe: 'Print JSON, errors too', global: true })
    .version(packageVersion())
    .help()
    .wrap(HELP_WIDTH)
    .strict()
    .recommendCommands()
    .demandCommand(1, 'which verb?')
    .exitProcess(false)
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .completion('completion', 'Print the completion script for bash or zsh')
    .epilogue('<domain> is a name or a domid. Exit codes: 0 done, 1 failed, 2 wrong arguments.')
    .fail((message, error) => {
      // yargs hands over what it refuses itself as a message or a YError, and the error of a verb that failed.
      const failed = error as Error | undefined;
      throw failed === undefined || failed.name === 'YError' ? usageError(`${message}; see kemari --help`) : failed;
    }) as unknown as Argv<GlobalArguments>;
  program = addCreate(program, interrupt);
  program = addLooking(program, interrupt);
  program = addSteering(program);
  program = addProtection(program, interrupt);
  program = addStandby(program);
  program = addEnding(program);
  program = addDrill(program, interrupt);
  return addBench(program, interrupt);
}

async function main(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  // The reader of our output has gone ("kemari log web | head"): nobody is left to write for.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? EXIT_OK : printError(error, false));
  });
  try {
    const words = await completions(argv);
    if (words !== undefined) {
      process.stdout.write(words.map((word) => `${word}\n`).join(''));
      return EXIT_OK;
    }
    await buildProgram(argv, new Interrupt(json)).parseAsync();
    return Number(process.exitCode ?? EXIT_OK);
  } catch (error) {
    return printError(error, json);
  }
}

process.exitCode = await main(process.argv.slice(2));
