import { spawn } from 'node:child_process';
import { once } from 'node:events';
import yargs, { type Argv } from 'yargs';
import { KemariError, messageOf } from '../base/errors.js';
import { parseCutTarget } from './cables.js';
import { DEFAULT_STAGE, HOST_NAMES, MACHINE_NAMES, type HostName, type MachineName } from './names.js';
import { LINK_NAMES } from './topology.js';
import { stagesInUse } from './stage-owner.js';
import { TwoHosts } from './two-hosts.js';

/** hack/two-hosts: the stage for a person at a terminal. */

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** As a shell says it of a command that a signal ended. */
const EXIT_SIGNALLED = 128;

/** For a verb without options of its own. */
const none = <Program>(args: Program): Program => args;

interface Arguments {
  readonly name: string;
  readonly json: boolean;
}

async function up(name: string): Promise<void> {
  if (stagesInUse().includes(name)) {
    try {
      TwoHosts.open(name);
      process.stdout.write(`two hosts "${name}" are up already\n`);
      return;
    } catch (error) {
      // What a killed `up` or `down` left.
      if (!(error instanceof KemariError && error.code === 'KEMARI_STAGE_MISSING')) throw error;
      await TwoHosts.down(name);
    }
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interrupted.abort();
    });
  }
  const stage = await TwoHosts.up(name, { owned: false });
  if (interrupted.signal.aborted) {
    await stage.down();
    throw new KemariError('KEMARI_INTERRUPTED', 'interrupted; nothing is left');
  }
  process.stdout.write(`two hosts "${name}" are up: ${MACHINE_NAMES.join(', ')}\n`);
}

interface MachineStatus {
  readonly namespace: string;
  readonly processes: number;
}

async function status(name: string, json: boolean): Promise<void> {
  const stage = TwoHosts.open(name);
  const faults = await stage.cables.faults();
  const machines = Object.fromEntries(
    MACHINE_NAMES.map((machine): [MachineName, MachineStatus] => {
      const namespace = stage.machines[machine];
      return [machine, { namespace: namespace.name, processes: namespace.pids().length }];
    }),
  );
  const links = LINK_NAMES.map((link) => ({ name: link, fault: faults[link] }));
  if (json) {
    process.stdout.write(`${JSON.stringify({ name, directory: stage.names.directory, machines, links })}\n`);
    return;
  }
  for (const [machine, { namespace, processes }] of Object.entries(machines)) {
    process.stdout.write(`${machine.padEnd(10)} ${namespace}, processes: ${processes}\n`);
  }
  for (const { name: link, fault } of links) process.stdout.write(`${link.padEnd(10)} ${fault || 'whole'}\n`);
}

/** Ends with what the command ended with. */
async function exec(name: string, machine: MachineName, command: readonly string[]): Promise<void> {
  const stage = TwoHosts.open(name);
  const [program, ...args] = stage.machines[machine].command(command);
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...stage.environment(machine) } });
  // The terminal sends its signals to both; the command decides.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? EXIT_SIGNALLED;
}

function machineOf(text: string): MachineName {
  const found = MACHINE_NAMES.find((machine) => machine.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return found;
  throw new KemariError('KEMARI_USAGE', `no machine "${text}"; expected one of ${MACHINE_NAMES.join(', ')}`);
}

function hostOf(text: string): HostName {
  const found = HOST_NAMES.find((host) => host === text.toUpperCase());
  if (found !== undefined) return found;
  throw new KemariError('KEMARI_USAGE', `no host "${text}"; expected A or B`);
}

/** `command` is what follows `exec MACHINE`: not ours to parse. */
function program(argv: readonly string[], command: readonly string[]): Argv<Arguments> {
  const text = { type: 'string', demandOption: true } as const;
  const options = yargs([...argv])
    .scriptName('hack/two-hosts')
    .locale('en')
    .usage('$0 <verb>\n\nTwo hosts, their storage and a client on this machine, in network namespaces.')
    .option('name', {
      type: 'string',
      default: DEFAULT_STAGE,
      requiresArg: true,
      describe: 'Several may be up at once',
    })
    .option('json', { type: 'boolean', default: false, describe: 'Print JSON (status)' });
  return (options as unknown as Argv<Arguments>)
    .command('up', 'Make them', none, async ({ name }) => up(name))
    .command('down', 'End all that runs there and remove every trace', none, ({ name }) => TwoHosts.down(name))
    .command('status', 'Show machines, their processes, and what is wrong with each cable', none, ({ name, json }) =>
      status(name, json),
    )
    .command(
      'cut <what>',
      'Lose every frame on a cable; what: A, B, client, storage, or a cable that status names',
      (args) =>
        args
          .positional('what', text)
          .option('one-way', { type: 'string', requiresArg: true, describe: 'A or B: lose only what this host sends' })
          .example('$0 cut sync', 'The hosts hear nothing of each other on the sync link')
          .example('$0 cut A --one-way A', 'Host A hears everyone and is heard by nobody'),
      async ({ name, what, oneWay }) => {
        await TwoHosts.open(name).cables.cut(parseCutTarget(what), oneWay === undefined ? undefined : hostOf(oneWay));
      },
    )
    .command('heal', 'Mend and plug every cable', none, ({ name }) => TwoHosts.open(name).cables.heal())
    .command(
      'shape <what> <rate>',
      'Bound the rate of a cable, both ways; "none" lifts it',
      (args) => args.positional('what', text).positional('rate', text).example('$0 shape sync 1gbit', "tc(8)'s units"),
      async ({ name, what, rate }) => {
        await TwoHosts.open(name).cables.shape(parseCutTarget(what), rate === 'none' ? undefined : rate);
      },
    )
    .command(
      'fence <host>',
      'Kill all of a host, unplug it and have storage forget it; fails unless all of that was verified',
      (args) => args.positional('host', text),
      async ({ name, host }) => {
        process.stdout.write(`${await TwoHosts.open(name).fence(hostOf(host))}\n`);
      },
    )
    .command(
      'exec <machine>',
      'Run a command on a machine (bash if none is given); on a host, `kemari` is that of the host',
      (args) =>
        args
          .positional('machine', text)
          .example('$0 exec A kemari list', 'What runs on host A')
          .example('$0 --name other exec client bash', 'Options come before the verb: the rest is the command'),
      async ({ name, machine }) => exec(name, machineOf(machine), command.length > 0 ? command : ['bash']),
    )
    .demandCommand(1, 'which verb?')
    .strict()
    .help()
    .version(false)
    .exitProcess(false)
    .fail((message, error) => {
      const failed = error as Error | undefined;
      throw failed === undefined || failed.name === 'YError' ? new KemariError('KEMARI_USAGE', message) : failed;
    });
}

try {
  const argv = process.argv.slice(2);
  const end = argv.includes('exec') ? argv.indexOf('exec') + 2 : argv.length;
  await program(argv.slice(0, end), argv.slice(end)).parseAsync();
} catch (error) {
  process.stderr.write(`two-hosts: ${messageOf(error)}\n`);
  process.exitCode = error instanceof KemariError && error.code === 'KEMARI_USAGE' ? EXIT_USAGE : EXIT_FAILURE;
}
