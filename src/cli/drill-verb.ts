import type { Argv } from 'yargs';
import { resolveRoot } from '../commands/context.js';
import { drill } from '../commands/drill.js';
import type { Interrupt } from './interrupt.js';
import { EXIT_FAILURE, usageError } from './output.js';
import type { GlobalArguments } from './verbs.js';

const DEFAULT_TAKEOVER_TIMEOUT_MS = 500;

export function addDrill(program: Argv<GlobalArguments>, interrupt: Interrupt): Argv<GlobalArguments> {
  return program.command(
    'drill [domain]',
    'Rehearse a failover on a stand-in: nothing that is in use is touched',
    (yargs) =>
      yargs
        .positional('domain', {
          type: 'string',
          describe: 'A running domain; its stand-in has its machine, CPUs, memory',
        })
        .option('takeover-timeout', {
          type: 'number',
          default: DEFAULT_TAKEOVER_TIMEOUT_MS,
          requiresArg: true,
          describe: 'As of migrate: milliseconds of silence after which the standby acts',
        })
        .option('strict', { type: 'boolean', default: false, describe: 'As of migrate' })
        .option('kill-after', { type: 'number', requiresArg: true, describe: 'Seconds until the host dies (random)' })
        .example('$0 drill', 'Two hosts in network namespaces; one is killed; a client tells what it saw')
        .example('$0 drill web --json', "The same with a guest of web's shape, for programs"),
    async ({ root, json, domain, takeoverTimeout, strict, killAfter }) => {
      if (killAfter !== undefined && !(killAfter >= 0)) throw usageError('--kill-after takes a number of seconds');
      const result = await drill(resolveRoot(root), {
        ...{ domain, strict, takeoverTimeoutMs: takeoverTimeout, killAfterS: killAfter },
        print: (line) => {
          if (!json) process.stdout.write(`${line}\n`);
        },
        signal: interrupt.take(),
      });
      if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
      else process.stdout.write(result.verified ? 'all of it was verified\n' : 'something above did not hold\n');
      if (!result.verified) process.exitCode = EXIT_FAILURE;
    },
  );
}
