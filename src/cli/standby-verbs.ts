import type { Argv } from 'yargs';
import { resolveRoot } from '../commands/context.js';
import { disarm } from '../commands/disarm.js';
import { keygen } from '../commands/keygen.js';
import { keyPath } from '../commands/security.js';
import { takeover } from '../commands/takeover.js';
import { printResult } from './output.js';
import { Progress } from './progress.js';
import { DOMAIN, told, type GlobalArguments } from './verbs.js';

type Program = Argv<GlobalArguments>;

/** The verbs of a standby host, and the key that all hosts share. */
export function addStandby(program: Program): Program {
  return program
    .command(
      'takeover <domain>',
      'On the standby: run the guest here (as SIGHUP to xc_kemari_restore does)',
      (yargs) =>
        yargs
          .positional('domain', DOMAIN)
          .option('primary-is-dead', {
            type: 'boolean',
            default: false,
            describe: 'You answer for it that the primary does not run any more',
          })
          .example('$0 takeover web', 'While the primary answers: a switchover. When it is silent: a takeover'),
      async ({ root, json, domain, primaryIsDead }) => {
        const progress = new Progress();
        progress.step('waiting for the takeover');
        const done = await takeover(resolveRoot(root), domain, { primaryIsDead }).finally(() => {
          progress.end();
        });
        printResult(json, done, told('Took over', done));
      },
    )
    .command(
      'disarm <domain>',
      'On the standby: never run the guest, its primary may go on alone',
      (yargs) => yargs.positional('domain', DOMAIN),
      async ({ root, json, domain }) => {
        const done = await disarm(resolveRoot(root), domain);
        printResult(json, done, told('Disarmed', done));
      },
    )
    .command(
      'keygen',
      'Make the key that hosts which protect each other share',
      (yargs) =>
        yargs
          .option('key', {
            type: 'string',
            requiresArg: true,
            describe: 'The file (or KEMARI_KEY_FILE; /etc/kemari/key)',
          })
          .option('force', { type: 'boolean', default: false, describe: 'Replace a key that is there' })
          .example('$0 keygen', 'Then copy /etc/kemari/key to the other hosts, readable by root only'),
      ({ json, key, force }) => {
        const made = keygen(keyPath(key), { replace: force });
        printResult(json, made, `Made ${made.path}: copy it to the other hosts\n`);
      },
    );
}
