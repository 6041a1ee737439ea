import { isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import type { BenchOptions } from '../commands/bench.js';
import { DEFAULT_BRIDGE } from '../model/vif-spec.js';
import type { Interrupt } from './interrupt.js';
import { printResult, usageError } from './output.js';
import { packageVersion } from './version.js';
import type { GlobalArguments } from './verbs.js';

const DEFAULT_FOLDER = 'kemari-bench';

export function addBench(program: Argv<GlobalArguments>, interrupt: Interrupt): Argv<GlobalArguments> {
  const names = { type: 'string', requiresArg: true } as const;
  const number = { type: 'number', requiresArg: true } as const;
  const withPeer = program.command('bench-peer', false, {}, async () => {
    const { benchPeer } = await import('../commands/bench-peer.js');
    await benchPeer(process.stdin, process.stdout);
  });
  return withPeer.command(
    'bench',
    'Measure workloads, protected and not, on two hosts of this machine or on two others',
    (yargs) =>
      yargs
        .option('quick', { type: 'boolean', describe: 'One of each kind, about ten minutes (default)' })
        .option('full', { type: 'boolean', describe: 'Everything, hours', conflicts: 'quick' })
        .option('wire', {
          type: 'boolean',
          describe: 'What encodings and encryption cost on the link',
          conflicts: ['quick', 'full'],
        })
        .option('failover', {
          type: 'boolean',
          describe: 'What a client sees of the deaths of 50 hosts, by way of taking over (--repeats: so many)',
          conflicts: ['quick', 'full', 'wire'],
        })
        .option('anatomy', {
          type: 'boolean',
          describe:
            'Where the time of an epoch goes, by guest size, vCPUs (--memory, --vcpus: at most) and dirty pages',
          conflicts: ['quick', 'full', 'wire', 'failover'],
        })
        .option('profile', {
          type: 'boolean',
          describe: 'Where the processor is, as flame graphs (needs perf, which Debian has in linux-perf)',
          conflicts: ['quick', 'full', 'wire', 'failover', 'anatomy'],
        })
        .option('hosts', {
          ...names,
          describe:
            'A,B: two machines that ssh reaches as root, with kemari; the guests start on A, this machine is their client',
          conflicts: ['wire', 'failover', 'anatomy', 'profile'],
          implies: 'addresses',
        })
        .option('addresses', {
          ...names,
          describe: 'Of --hosts: two IPv4 addresses, free, on a network of this machine',
        })
        .option('bridge', { ...names, describe: "Of --hosts: for the guests' NICs, on both (xenbr0)" })
        .option('standby', { ...names, describe: 'Of --hosts: how A reaches B for the sync link (as ssh does)' })
        .option('ssh', { ...names, describe: 'Of --hosts: the ssh to call, with its options' })
        .option('protections', { ...names, describe: 'Comma-separated; name* for all that begin so' })
        .option('workloads', { ...names, describe: 'The same' })
        .option('links', { ...names, describe: 'The same' })
        .option('repeats', { ...number, describe: 'Times that each is measured, in turn' })
        .option('seconds', { ...number, describe: 'Of each measurement that runs for a time' })
        .option('memory', { ...number, describe: 'Of the guest, MiB (512)' })
        .option('vcpus', { ...number, describe: 'Of the guest (1)' })
        .option('pages', { ...names, describe: 'Of --anatomy: dirty pages an epoch, comma-separated' })
        .option('against', { ...names, describe: 'Folder of an older run: the report shows before and after' })
        .option('out', { ...names, default: DEFAULT_FOLDER, describe: 'Folder of the results; goes on where one is' })
        .example('$0 bench --protections none,kemari --workloads "iozone*"', 'A subset, by name')
        .example('$0 bench --hosts root@a,root@b --addresses 192.0.2.50,192.0.2.51', 'On machines of your own'),
    async ({
      json,
      full,
      wire,
      failover,
      anatomy: apart,
      profile,
      protections,
      workloads,
      links,
      repeats,
      seconds,
      memory,
      vcpus,
      pages,
      against,
      out,
      ...where
    }) => {
      for (const [name, value] of Object.entries({ repeats, seconds, memory, vcpus })) {
        if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
          throw usageError(`--${name} takes a whole number from 1`);
        }
      }
      // Not before it is asked for: what draws the charts takes its time to load.
      const { bench } = await import('../commands/bench.js');
      const list = (text: string | undefined): string[] | undefined => text?.split(',').filter(Boolean);
      const { rows, failovers, anatomy, table, files } = await bench({
        ...{ protections: list(protections), workloads: list(workloads), links: list(links), repeats, seconds },
        ...{ memoryMib: memory, vcpus, pages: list(pages)?.map(pageCount) },
        against: against === undefined ? undefined : resolve(against),
        ...{
          extent: extentOf({ full, wire, failover, anatomy: apart, profile }),
          folder: resolve(out),
          hosts: hostsOf(where),
          signal: interrupt.take(),
        },
      });
      printResult(json, { rows, failovers, anatomy, files }, `${table}\n${files.join('\n')}\n`);
    },
  );
}

interface HostsArguments {
  readonly hosts: string | undefined;
  readonly addresses: string | undefined;
  readonly bridge: string | undefined;
  readonly standby: string | undefined;
  readonly ssh: string | undefined;
}

function hostsOf(where: HostsArguments): BenchOptions['hosts'] {
  const { hosts, addresses, bridge = DEFAULT_BRIDGE, standby, ssh = 'ssh' } = where;
  if (hosts === undefined) return undefined;
  const [A, B] = two('--hosts', 'machines', hosts);
  const guests = two('--addresses', 'IPv4 addresses', addresses ?? '');
  const wrong = guests.find((address) => !isIPv4(address));
  if (wrong !== undefined) throw usageError(`--addresses takes two IPv4 addresses; found ${wrong}`);
  const options = { ssh: ssh.split(' ').filter(Boolean), bridge, addresses: guests, standby };
  return { destinations: { A, B }, ...options, version: packageVersion() };
}

function two(option: string, what: string, text: string): [string, string] {
  const [first, second, ...others] = text.split(',').filter(Boolean);
  if (first !== undefined && second !== undefined && others.length === 0) return [first, second];
  throw usageError(`${option} takes two ${what}, separated by a comma; found "${text}"`);
}

const EXTENTS = ['full', 'wire', 'failover', 'anatomy', 'profile'] as const;

function extentOf(chosen: Readonly<Record<(typeof EXTENTS)[number], boolean | undefined>>): BenchOptions['extent'] {
  return EXTENTS.find((extent) => chosen[extent] === true) ?? 'quick';
}

/** What a guest of the base size has room for. */
const MOST_PAGES = 60_000;

function pageCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0 && count <= MOST_PAGES) return count;
  throw usageError(`--pages takes whole numbers from 0 to ${MOST_PAGES}`);
}
