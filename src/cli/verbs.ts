import type { Argv } from 'yargs';
import { resolveRoot, type DomainReference } from '../commands/context.js';
import { consoleOf } from '../commands/console.js';
import { create } from '../commands/create.js';
import { destroy } from '../commands/destroy.js';
import { info } from '../commands/info.js';
import { list } from '../commands/list.js';
import { log } from '../commands/log.js';
import { pause } from '../commands/pause.js';
import { reboot } from '../commands/reboot.js';
import { shutdown } from '../commands/shutdown.js';
import { unpause } from '../commands/unpause.js';
import { readableLogLine } from '../base/log-line.js';
import type { Interrupt } from './interrupt.js';
import { printResult, usageError } from './output.js';
import { Progress } from './progress.js';
import { infoText, listTable } from './tables.js';

/** The options that every verb has. */
export interface GlobalArguments {
  readonly root: string | undefined;
  readonly json: boolean;
}

type Program = Argv<GlobalArguments>;

export const DOMAIN = { type: 'string', demandOption: true, describe: 'Name or domid of the domain' } as const;

const MS_PER_S = 1000;

export function told(verb: string, { name, domid }: DomainReference): string {
  return `${verb} domain "${name}" (domid ${domid})\n`;
}

export function addCreate(program: Program, interrupt: Interrupt): Program {
  return program.command(
    'create <file>',
    'Start a domain from its file',
    (yargs) =>
      yargs
        .positional('file', { type: 'string', demandOption: true, describe: "Domain file: TOML with xl.cfg's keys" })
        .option('paused', { alias: 'p', type: 'boolean', default: false, describe: 'Leave the guest paused' })
        .option('claim', {
          type: 'boolean',
          default: false,
          describe: 'You answer for it that no other host runs the domain, whatever is recorded',
        })
        .option('console', { alias: 'c', type: 'boolean', default: false, describe: 'Connect to its console' })
        .example('$0 create web.toml', 'Start the guest that web.toml describes')
        .example('$0 create -c web.toml', 'The same, and watch it boot (Ctrl-] leaves)'),
    async ({ root, json, file, paused, claim, console }) => {
      const progress = new Progress();
      const onProgress = (text: string): void => {
        progress.step(text);
      };
      const options = { paused, claim, onProgress, signal: interrupt.take() };
      const made = await create(resolveRoot(root), file, options).finally(() => {
        progress.end();
      });
      printResult(json, made, told('Created', made));
      if (console) await showConsole(resolveRoot(root), String(made.domid), interrupt);
    },
  );
}

export function addLooking(program: Program, interrupt: Interrupt): Program {
  return program
    .command(
      'list [domain]',
      'List domains',
      (yargs) =>
        yargs
          .positional('domain', { ...DOMAIN, demandOption: false })
          .example(
            '$0 list',
            'The table of xl list; State is r(unning) b(locked) p(aused) s(hut down) c(rashed) d(ying)',
          )
          .example('$0 list --json', 'The same for programs'),
      async ({ root, json, domain }) => {
        const domains = await list(resolveRoot(root), domain);
        printResult(json, domains, listTable(domains));
        for (const { name, state } of domains) {
          if (state === 'unresponsive') process.stderr.write(`kemari: kemari-dm of domain "${name}" does not answer\n`);
        }
      },
    )
    .command(
      'info <domain>',
      'Show all that is known of a domain',
      (yargs) =>
        yargs.positional('domain', DOMAIN).example('$0 info web --json', 'Counters of its disks and NICs for programs'),
      async ({ root, json, domain }) => {
        const known = await info(resolveRoot(root), domain);
        printResult(json, known, infoText(known));
      },
    )
    .command(
      'console <domain>',
      'Connect to the console of a domain (Ctrl-] leaves)',
      (yargs) =>
        yargs
          .positional('domain', DOMAIN)
          .example('$0 console web', 'Several people may be connected at once; recent output is shown first')
          .example('$0 console web </dev/null | grep -m1 login:', 'Wait for a line'),
      async ({ root, domain }) => {
        await showConsole(resolveRoot(root), domain, interrupt);
      },
    )
    .command(
      'log <domain>',
      'Show the log of a domain, also of one that is gone',
      (yargs) =>
        yargs
          .positional('domain', DOMAIN)
          .option('follow', { alias: 'f', type: 'boolean', default: false, describe: 'Go on with what is written' })
          .example('$0 log web -f', 'Watch what happens to it; console output is in it too')
          .example('$0 log web --json', 'The same as JSON lines'),
      async ({ root, json, domain, follow }) => {
        const print = (line: string): void => {
          process.stdout.write(`${json ? line : readableLogLine(line)}\n`);
        };
        await log(resolveRoot(root), domain, print, { follow, signal: interrupt.take() });
      },
    );
}

async function showConsole(root: string, domain: string, interrupt: Interrupt): Promise<void> {
  const talk = process.stdin.isTTY && process.stderr.isTTY;
  const end = await consoleOf(root, domain, {
    input: process.stdin,
    output: process.stdout,
    onConnected: (name) => {
      if (talk) process.stderr.write(`Connected to the console of domain "${name}"; Ctrl-] leaves\n`);
    },
    signal: interrupt.take(),
  });
  if (talk) process.stderr.write(end === 'domain-ended' ? '\r\nThe domain has ended\n' : '\r\n');
}

export function addSteering(program: Program): Program {
  const simple = (name: string, past: string, text: string, run: typeof pause) =>
    [
      `${name} <domain>`,
      text,
      (yargs: Program) => yargs.positional('domain', DOMAIN),
      async ({ root, json, domain }: GlobalArguments & { domain: string }) => {
        const done = await run(resolveRoot(root), domain);
        printResult(json, done, told(past, done));
      },
    ] as const;
  return program
    .command(...simple('pause', 'Paused', "Stop a domain's CPUs", pause))
    .command(...simple('unpause', 'Unpaused', 'Let a paused domain go on', unpause))
    .command(...simple('reboot', 'Asked to reboot:', 'Ask a guest to start over', reboot));
}

export function addEnding(program: Program): Program {
  return program
    .command(
      'shutdown [domain]',
      'Ask a guest to power off',
      (yargs) =>
        yargs
          .positional('domain', { ...DOMAIN, demandOption: false })
          .option('all', { alias: 'a', type: 'boolean', default: false, describe: 'All domains' })
          .option('wait', { alias: 'w', type: 'boolean', default: false, describe: 'Return when the guest has ended' })
          .option('timeout', { type: 'number', describe: 'Seconds to wait at most (with --wait)' })
          .example('$0 shutdown -a -w', 'Power off all guests and wait for them'),
      async ({ root, json, domain, all, wait, timeout }) => {
        const which = chooseDomains(domain, all);
        const timeoutMs = checkSeconds(timeout);
        const progress = new Progress();
        progress.step(wait ? 'waiting for the guest to power off' : 'asking the guest to power off');
        const done = await shutdown(resolveRoot(root), which, { wait, timeoutMs }).finally(() => {
          progress.end();
        });
        printResult(json, done, done.map((each) => told(wait ? 'Shut down' : 'Asked to power off:', each)).join(''));
      },
    )
    .command(
      'destroy <domain>',
      'End a domain at once, as by pulling the plug',
      (yargs) => yargs.positional('domain', DOMAIN).example('$0 destroy web', 'Works also when its kemari-dm hangs'),
      async ({ root, json, domain }) => {
        const progress = new Progress();
        const done = await destroy(resolveRoot(root), domain, (text) => {
          progress.step(text);
        }).finally(() => {
          progress.end();
        });
        printResult(json, done, told(done.killed ? 'Killed' : 'Destroyed', done));
      },
    );
}

function chooseDomains(domain: string | undefined, all: boolean): { readonly domain: string } | 'all' {
  if (all && domain === undefined) return 'all';
  if (domain !== undefined && !all) return { domain };
  throw usageError(`shutdown takes either a domain or --all; found ${all ? 'both' : 'none'}`);
}

function checkSeconds(timeout: number | undefined): number | undefined {
  if (timeout === undefined) return undefined;
  if (timeout >= 0) return timeout * MS_PER_S;
  throw usageError(`--timeout takes a number of seconds; found ${timeout}`);
}
