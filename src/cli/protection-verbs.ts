import type { Argv } from 'yargs';
import { resolveRoot } from '../commands/context.js';
import type { ProtectionEvent } from '../commands/info.js';
import { migrate } from '../commands/migrate.js';
import { resumeUnprotected } from '../commands/resume.js';
import { switchover } from '../commands/switchover.js';
import { chromeTrace, trace } from '../commands/trace.js';
import { unprotect } from '../commands/unprotect.js';
import {
  COMPRESSIONS,
  MAX_AGE_MS,
  MAX_PAUSE_SHARE,
  REMUS_INTERVAL_MS,
  TAKEOVER_TIMEOUT_MS,
  type Compression,
  type ProtectionOptions,
  type SyncPolicy,
} from '../model/protection.js';
import { hostAddress } from './addresses.js';
import type { Interrupt } from './interrupt.js';
import { printResult, usageError } from './output.js';
import { eventText, statusText, copyText } from './protection-text.js';
import { StatusLine } from './status-line.js';
import { runTop } from './top-verb.js';
import { DOMAIN, told, type GlobalArguments } from './verbs.js';

type Program = Argv<GlobalArguments>;

const MS_PER_S = 1000;

interface MigrateArguments extends GlobalArguments {
  readonly domain: string;
  readonly host: string;
  readonly kemari: boolean;
  readonly strict: boolean;
  readonly remus: boolean;
  readonly interval: number | undefined;
  readonly live: boolean;
  readonly detach: boolean;
  readonly maxPauseShare: number;
  readonly maxAge: number;
  readonly takeoverTimeout: number;
  readonly onSilence: string;
  readonly failover: string;
  readonly compress: Compression;
  readonly key: string | undefined;
  readonly plain: boolean;
}

export function addProtection(program: Program, interrupt: Interrupt): Program {
  return addTop(addMigrate(program, interrupt), interrupt)
    .command(
      'unprotect <domain>',
      'End the protection of a domain; it goes on here',
      (yargs) => yargs.positional('domain', DOMAIN),
      async ({ root, json, domain }) => {
        const done = await unprotect(resolveRoot(root), domain);
        printResult(json, done, told('Unprotected', done));
      },
    )
    .command(
      'switchover <domain>',
      'Let a protected guest go on at its standby',
      (yargs) => yargs.positional('domain', DOMAIN),
      async ({ root, json, domain }) => {
        const done = await switchover(resolveRoot(root), domain);
        printResult(json, done, told('Handed over', done));
      },
    )
    .command(
      'trace <domain>',
      'Print where the time of the last epochs went, for Perfetto (ui.perfetto.dev) or chrome://tracing',
      (yargs) =>
        yargs
          .positional('domain', DOMAIN)
          .example('$0 trace web > web.json', 'The last 1500 epochs, as Chrome trace events'),
      async ({ root, domain, json }) => {
        const epochs = await trace(resolveRoot(root), domain);
        process.stdout.write(`${JSON.stringify(json ? epochs : chromeTrace(domain, epochs))}\n`);
      },
    )
    .command(
      'resume <domain>',
      'Let a domain whose standby is silent go on without it',
      (yargs) =>
        yargs.positional('domain', DOMAIN).option('unprotected', {
          type: 'boolean',
          demandOption: true,
          describe: 'You answer for it that no other host runs the guest',
        }),
      async ({ root, json, domain, unprotected }) => {
        if (!unprotected) throw usageError('resume takes --unprotected: that is what the domain then is');
        const done = await resumeUnprotected(resolveRoot(root), domain);
        printResult(json, done, told('Resumed, unprotected:', done));
      },
    );
}

function addMigrate(program: Program, interrupt: Interrupt): Program {
  return program.command(
    'migrate <domain> <host>',
    'Protect a domain on another host, or move it there',
    (yargs) =>
      yargs
        .positional('domain', DOMAIN)
        .positional('host', { type: 'string', demandOption: true, describe: 'HOST[:PORT] of its kemarid' })
        .option('kemari', { type: 'boolean', default: false, describe: 'Synchronize when something leaves the guest' })
        .option('strict', { type: 'boolean', default: false, describe: 'With --kemari: the guest waits for the ack' })
        .option('remus', { type: 'boolean', default: false, describe: 'Synchronize by the clock' })
        .option('interval', { type: 'number', describe: `With --remus: milliseconds (${REMUS_INTERVAL_MS.default})` })
        .option('live', { type: 'boolean', default: false, describe: 'Move the guest, do not protect it' })
        .option('detach', { type: 'boolean', default: false, describe: 'Return once the domain is protected' })
        .option('max-pause-share', {
          type: 'number',
          default: MAX_PAUSE_SHARE.default * 100,
          describe: 'Percent of its time that pauses may take from a busy guest',
        })
        .option('max-age', {
          type: 'number',
          default: MAX_AGE_MS.default,
          describe: 'Milliseconds after which a silent guest is synchronized, too',
        })
        .option('takeover-timeout', {
          type: 'number',
          default: TAKEOVER_TIMEOUT_MS.default,
          describe: 'Milliseconds of silence after which the standby may act',
        })
        .option('on-silence', {
          choices: ['hold', 'continue'],
          default: 'hold',
          describe: 'When the standby is silent: hold all output, or go on unprotected',
        })
        .option('failover', {
          choices: ['manual', 'auto'],
          default: 'manual',
          describe: 'Whether the standby takes over by itself; its kemarid then needs --fence-cmd',
        })
        .option('compress', {
          choices: COMPRESSIONS,
          default: 'auto' as const,
          describe: 'Make pages smaller before they are sent: where it saves time, or as told',
        })
        .option('key', { type: 'string', requiresArg: true, describe: "The hosts' key (or KEMARI_KEY_FILE)" })
        .option('plain', { type: 'boolean', default: false, describe: 'No encryption: only where the link is trusted' })
        .example('$0 migrate web hostb --kemari', 'Protect it; Ctrl-C ends the watching, not the protection')
        .example('$0 migrate web hostb --live', 'Move it'),
    async (argv) => {
      await runMigrate(argv, interrupt);
    },
  );
}

async function runMigrate(argv: MigrateArguments, interrupt: Interrupt): Promise<void> {
  const { root, json, domain, host, detach, key, plain } = argv;
  const line = new StatusLine(process.stderr);
  const onEvent = json ? printEvent : showEvent(line);
  const address = hostAddress(host);
  const options = {
    address,
    protection: protectionOptions(argv),
    key,
    plain,
    detach,
    onEvent,
    signal: interrupt.take(),
  };
  const done = await migrate(resolveRoot(root), domain, options).finally(() => {
    line.end();
  });
  const after =
    done.outcome === 'detached' && !detach
      ? `the protection goes on; "kemari top" shows it, "kemari unprotect ${done.name}" ends it\n`
      : '';
  printResult(json, done, `Domain "${done.name}" (domid ${done.domid}): ${done.outcome}: ${done.text}\n${after}`);
  // The domain is not where, or as, the user wanted it.
  const wanted = argv.live ? ['handed-over'] : ['detached', 'handed-over', 'ended', ...(detach ? [] : ['unprotected'])];
  if (!wanted.includes(done.outcome)) process.exitCode = 1;
}

function printEvent(event: ProtectionEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function showEvent(line: StatusLine): (event: ProtectionEvent) => void {
  return (event) => {
    const text = eventText(event);
    if (text !== undefined) line.tell(text);
    else if (event.type === 'connecting') line.show(event.text);
    else if (event.type === 'copying') line.show(copyText(event));
    else if (event.type === 'counters') line.show(statusText(event.info));
  };
}

/** Errors: `KEMARI_USAGE`, which names what was found and what is possible. */
export function protectionOptions(argv: MigrateArguments): ProtectionOptions {
  const ways = [argv.kemari, argv.remus, argv.live].filter(Boolean).length;
  if (ways !== 1)
    throw usageError(`migrate takes one of --kemari, --remus and --live; found ${ways === 0 ? 'none' : ways}`);
  if (argv.strict && !argv.kemari) throw usageError('--strict belongs to --kemari');
  if (argv.interval !== undefined && !argv.remus) throw usageError('--interval belongs to --remus');
  if (argv.plain && argv.key !== undefined) throw usageError('--key and --plain exclude each other: choose one');
  if (argv.onSilence === 'continue' && argv.failover === 'auto') {
    throw usageError(
      '--on-silence continue and --failover auto contradict each other: both sides would go on by themselves; choose ' +
        '--on-silence hold or --failover manual',
    );
  }
  if (argv.live && argv.detach) throw usageError('--live ends by itself: it takes no --detach');
  return {
    purpose: argv.live ? 'move' : 'protect',
    policy: policyOf(argv),
    onSilence: argv.onSilence === 'continue' ? 'continue' : 'hold',
    failover: argv.failover === 'auto' ? 'auto' : 'manual',
    maxPauseShare:
      within('--max-pause-share', argv.maxPauseShare, {
        min: MAX_PAUSE_SHARE.min * 100,
        max: MAX_PAUSE_SHARE.max * 100,
      }) / 100,
    maxAgeMs: within('--max-age', argv.maxAge, MAX_AGE_MS),
    takeoverTimeoutMs: within('--takeover-timeout', argv.takeoverTimeout, TAKEOVER_TIMEOUT_MS),
    compress: argv.compress,
  };
}

function policyOf({ remus, strict, interval }: MigrateArguments): SyncPolicy {
  if (!remus) return { kind: 'kemari', strict };
  return { kind: 'remus', intervalMs: within('--interval', interval ?? REMUS_INTERVAL_MS.default, REMUS_INTERVAL_MS) };
}

function within(option: string, value: number, { min, max }: { readonly min: number; readonly max: number }): number {
  if (value >= min && value <= max) return value;
  throw usageError(`${option} takes a number from ${min} to ${max}; found ${value}`);
}

function addTop(program: Program, interrupt: Interrupt): Program {
  return program.command(
    'top',
    'Watch all domains and their protection (q quits)',
    (yargs) =>
      yargs
        .option('once', { type: 'boolean', default: false, describe: 'Print one screen and end' })
        .option('batch', { alias: 'b', type: 'boolean', default: false, describe: 'Print screen after screen' })
        .option('delay', { alias: 'd', type: 'number', default: 1, describe: 'Seconds between two looks' })
        .example('$0 top --json --once', 'All counters for programs'),
    async ({ root, json, once, batch, delay }) => {
      const intervalMs = within('--delay', delay, { min: 0.1, max: 3600 }) * MS_PER_S;
      const options = { root: resolveRoot(root), json, once, batch, intervalMs, signal: interrupt.take() };
      await runTop(options, process.stdin, process.stdout);
    },
  );
}
