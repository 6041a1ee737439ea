import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import type { BenchOptions } from '../commands/bench.js';
import type { Interrupt } from './interrupt.js';
import { printResult, usageError } from './output.js';
import type { GlobalArguments } from './verbs.js';

const DEFAULT_FOLDER = 'kemari-bench';

export function addBench(program: Argv<GlobalArguments>, interrupt: Interrupt): Argv<GlobalArguments> {
  const names = { type: 'string', requiresArg: true } as const;
  const number = { type: 'number', requiresArg: true } as const;
  return program.command(
    'bench',
    'Measure workloads, protected and not, on two hosts of this machine',
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
        .option('protections', { ...names, describe: 'Comma-separated; name* for all that begin so' })
        .option('workloads', { ...names, describe: 'The same' })
        .option('links', { ...names, describe: 'The same' })
        .option('repeats', { ...number, describe: 'Times that each is measured, in turn' })
        .option('seconds', { ...number, describe: 'Of each measurement that runs for a time' })
        .option('memory', { ...number, describe: 'Of the guest, MiB (512)' })
        .option('vcpus', { ...number, describe: 'Of the guest (1)' })
        .option('out', { ...names, default: DEFAULT_FOLDER, describe: 'Folder of the results; goes on where one is' })
        .example('$0 bench --protections none,kemari --workloads "iozone*"', 'A subset, by name'),
    async ({ json, full, wire, failover, protections, workloads, links, repeats, seconds, memory, vcpus, out }) => {
      for (const [name, value] of Object.entries({ repeats, seconds, memory, vcpus })) {
        if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
          throw usageError(`--${name} takes a whole number from 1`);
        }
      }
      // Not before it is asked for: what draws the charts takes its time to load.
      const { bench } = await import('../commands/bench.js');
      const list = (text: string | undefined): string[] | undefined => text?.split(',').filter(Boolean);
      const { rows, failovers, table, files } = await bench({
        ...{ protections: list(protections), workloads: list(workloads), links: list(links), repeats, seconds },
        ...{ memoryMib: memory, vcpus },
        ...{ extent: extentOf({ full, wire, failover }), folder: resolve(out), signal: interrupt.take() },
      });
      printResult(json, { rows, failovers, files }, `${table}\n${files.join('\n')}\n`);
    },
  );
}

function extentOf(chosen: Readonly<Record<'full' | 'wire' | 'failover', boolean | undefined>>): BenchOptions['extent'] {
  for (const extent of ['full', 'wire', 'failover'] as const) if (chosen[extent] === true) return extent;
  return 'quick';
}
