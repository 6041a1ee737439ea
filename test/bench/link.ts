import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Namespace } from '../../src/stage/namespace.js';
import type { LinkRun, LinkRunResult } from './link-end.js';
import { Progress } from '../../src/bench/progress.js';
import { formatTable, type Row } from './rows.js';
import { median, pairedRatio } from '../../src/bench/statistics.js';
import { Undo } from '../../src/bench/undo.js';

const HELP = `usage: npm run bench:link -- [options]
  --repeats N   times that each way is measured, in turn (default 5)
  --megabytes N bytes that each run sends on the free link (default 1024); a quarter of it on the shaped one
  --json FILE   also write the rows
`;

const GBIT_BYTES_PER_S = 125e6;
/** Ethernet, IP and TCP headers with timestamps, of a full frame; then TLS records of 16 KiB. */
const PAYLOAD_SHARE = (1448 / 1514) * (16384 / 16406);
const END = join(import.meta.dirname, 'link-end.js');
const NEAR_ADDRESS = '10.79.79.1';
const FAR_ADDRESS = '10.79.79.2';

type Way = Pick<LinkRun, 'kind' | 'plain' | 'content' | 'checkpointPages'>;

const PUMP: Way = { kind: 'pump', plain: false, content: 'noise', checkpointPages: 0 };
const WAYS: readonly (readonly [name: string, way: Way])[] = [
  ['pre-copy, TLS, noise', { kind: 'ahead', plain: false, content: 'noise', checkpointPages: 256 }],
  ['pre-copy, TLS, text', { kind: 'ahead', plain: false, content: 'text', checkpointPages: 256 }],
  ['pre-copy, plain, noise', { kind: 'ahead', plain: true, content: 'noise', checkpointPages: 256 }],
  ['checkpoints of 32 MiB, TLS, noise', { kind: 'epochs', plain: false, content: 'noise', checkpointPages: 8192 }],
];

/** Two hosts with a cable between them. */
class Cable {
  readonly near = new Namespace(`kembench-${process.pid}-a`);
  readonly far = new Namespace(`kembench-${process.pid}-b`);

  async plug(undo: Undo): Promise<void> {
    for (const host of [this.near, this.far]) {
      undo.defer(host.name, () => host.remove());
      await host.add();
    }
    await this.near.ip([`link add cable type veth peer name cable netns ${this.far.name}`]);
    for (const [host, address] of [
      [this.near, NEAR_ADDRESS],
      [this.far, FAR_ADDRESS],
    ] as const) {
      await host.ip([`addr add ${address}/24 dev cable`, 'link set cable up', 'link set lo up']);
    }
  }

  async shape(): Promise<void> {
    await this.near.run('tc qdisc replace dev cable root tbf rate 1gbit burst 256kb latency 50ms'.split(' '));
  }

  async run(way: Way, totalBytes: number): Promise<LinkRunResult> {
    const run = { ...way, totalBytes, host: FAR_ADDRESS, port: 0 };
    const receiver = this.#start(this.far, 'receive', run);
    const [port] = (await once(createInterface(receiver.stdout), 'line')) as [string];
    const sender = this.#start(this.near, 'send', { ...run, port: Number(port) });
    const ended = once(receiver, 'exit');
    const [result] = (await once(createInterface(sender.stdout), 'line')) as [string];
    await ended;
    return JSON.parse(result) as LinkRunResult;
  }

  #start(host: Namespace, role: string, run: LinkRun) {
    const [program, ...args] = host.command([process.execPath, END, role, JSON.stringify(run)]);
    return spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      repeats: { type: 'string', default: '5' },
      megabytes: { type: 'string', default: '1024' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const repeats = Number(values.repeats);
  const bytes = Number(values.megabytes) << 20;
  const undo = new Undo();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => void undo.run().then(() => process.exit(130)));
  }
  try {
    const cable = new Cable();
    await cable.plug(undo);
    const progress = new Progress(2 * repeats * (WAYS.length + 1));
    const rows = await measure(cable, 'free link', bytes, repeats, progress);
    await cable.shape();
    rows.push(...(await measure(cable, '1 Gbit/s', Math.ceil(bytes / 4 / 2 ** 25) * 2 ** 25, repeats, progress)));
    process.stdout.write(`${formatTable(rows)}\n`);
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  } finally {
    await undo.run();
  }
}

async function measure(cable: Cable, link: string, bytes: number, repeats: number, progress: Progress): Promise<Row[]> {
  const rates = new Map<string, number[]>();
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [name, way] of [['pump', PUMP] as const, ...WAYS]) {
      progress.step(`${link}: ${name}`);
      const { seconds } = await cable.run(way, bytes);
      rates.set(name, [...(rates.get(name) ?? []), bytes / seconds / 1e6]);
    }
  }
  const pump = rates.get('pump')!;
  const wire = (GBIT_BYTES_PER_S * PAYLOAD_SHARE) / 1e6;
  return WAYS.flatMap(([name]): Row[] => {
    const ours = rates.get(name)!;
    const common = { unit: 'MB/s', ours: median(ours), bound: 'at-least' as const };
    const against: Row = {
      ...common,
      name: `${link}: ${name}`,
      against: 'bare TLS 1.3 pump',
      peer: median(pump),
      target: name.includes('text') ? undefined : 0.5,
      ...pairedRatio(ours, pump),
    };
    if (link === 'free link') return [against];
    const target = name.includes('noise') ? 0.9 : undefined;
    const share = pairedRatio(
      ours,
      ours.map(() => wire),
    );
    const wired: Row = { ...common, name: `${link}: ${name}`, against: 'the wire', peer: wire, target, ...share };
    return [against, wired];
  });
}

await main();
