import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { KemariError } from '../../src/base/errors.js';
import type { MachineType } from '../../src/model/domain-config.js';

/** What one run of the benchmark is told. */
export interface BenchOptions {
  /** Times that each workload runs on each variant. */
  readonly repeats: number;
  /** Seconds that a workload runs each time. */
  readonly seconds: number;
  readonly boots: number;
  /** Only rows' groups whose name matches. */
  readonly only: RegExp | undefined;
  readonly jsonFile: string | undefined;
  readonly machine: MachineType;
  readonly vcpus: number;
  readonly diskQueues: number;
  /** Folder for disks; its file system must support O_DIRECT. */
  readonly directory: string;
}

const HELP = `usage: npm run bench:proxy -- [options]
  --quick           one second, three repeats, three boots: to see that everything works, not for figures
  --repeats N       times that each workload runs on each variant (default 5)
  --seconds N       how long it runs each time (default 3)
  --boots N         guests to boot (default 50)
  --only PATTERN    only what matches this regular expression, e.g. 'disk raw.*depth 32|boots'
  --json FILE       also write the rows and a description of the machine
  --machine TYPE    q35 (default), pc or microvm
  --vcpus N         vCPUs of the guest (default 1; this host has ${availableParallelism()} CPUs)
  --queues N        queues of each disk (default 1)
  --directory DIR   where the disks are made (default .cache/bench)
`;

/**
 * Reads the command line.
 *
 * Errors: `KEMARI_BENCH_ARGUMENT`.
 */
export function parseOptions(argv: readonly string[]): BenchOptions {
  const { values } = parse(argv);
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const quick = values.quick === true;
  return {
    repeats: count('repeats', values.repeats, quick ? 3 : 5),
    seconds: count('seconds', values.seconds, quick ? 1 : 3),
    boots: count('boots', values.boots, quick ? 3 : 50),
    only: values.only === undefined ? undefined : new RegExp(values.only),
    jsonFile: values.json,
    machine: machineType(values.machine ?? 'q35'),
    vcpus: count('vcpus', values.vcpus, 1),
    diskQueues: count('queues', values.queues, 1),
    directory: values.directory ?? '.cache/bench',
  };
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        help: flag,
        quick: flag,
        repeats: text,
        seconds: text,
        boots: text,
        only: text,
        json: text,
        machine: text,
        vcpus: text,
        queues: text,
        directory: text,
      },
    });
  } catch (error) {
    throw new KemariError('KEMARI_BENCH_ARGUMENT', `${String(error)}\n${HELP}`, { cause: error });
  }
}

function count(name: string, value: string | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (!/^[1-9][0-9]{0,4}$/.test(value)) {
    throw new KemariError('KEMARI_BENCH_ARGUMENT', `--${name} is '${value}'; expected a number from 1 to 99999`);
  }
  return Number(value);
}

function machineType(value: string): MachineType {
  if (value === 'q35' || value === 'pc' || value === 'microvm') return value;
  throw new KemariError('KEMARI_BENCH_ARGUMENT', `--machine is '${value}'; expected q35, pc or microvm`);
}
