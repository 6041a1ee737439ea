import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/errors.js';
import type { ProtectionInfo } from '../../src/host/contract.js';
import type { MachineType } from '../../src/model/domain-config.js';
import { HOST_NAMES, otherHost, type HostName } from '../../src/stage/names.js';
import { GUEST_ADDRESS, GUEST_NAME, StagedGuest } from '../../src/stage/staged-guest.js';
import { HOST_ADDRESSES } from '../../src/stage/topology.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { GUEST_IMAGE, GUEST_MISSING } from '../fixtures/guest-image.js';
import { Progress } from '../../src/bench/progress.js';
import { formatTable, type Row } from './rows.js';
import { median } from '../../src/bench/statistics.js';

const HELP = `usage: npm run bench:protect -- [options]
  --machines LIST  q35,microvm (default), pc
  --seconds N      how long each state is watched (default 12; counters look back 10)
  --moves N        live migrations (default 5)
  --json FILE      also write the rows
Measures whole epochs of a real guest on two hosts (network namespaces of this machine). Run it on a quiet machine.
`;

/** Pause of an idle guest's epoch that is aimed at, in milliseconds. */
const PAUSE_TARGET_MS: Readonly<Record<MachineType, number>> = { q35: 2.2, pc: 2.2, microvm: 0.9 };
const P99_OF_MEDIAN = 5;
const MORE_PAGES = 1000;
const MORE_PAGES_TARGET_MS = 0.8;
const RELEASE_TARGET_MS = 0.6;
const SCRIPT_TARGET = 0.15;
const STREAM_TARGET = 0.4;
const LIVE_TARGET_MS = 20;
const STREAM_MIB = 48;
/** An idle guest is synchronized this often, to have epochs to measure; below what pacing would bound. */
const IDLE_MAX_AGE_MS = 25;

const KNOCK_INTERVAL_MS = 250;
/** Run by the client: connects to a port on which nobody listens, again and again, and prints how long each took. */
const KNOCKER = `
  const { connect } = require('node:net');
  const times = [];
  const timer = setInterval(() => {
    const at = performance.now();
    connect(9, '${GUEST_ADDRESS}').on('error', () => {
      times.push(performance.now() - at);
      if (times.length < Number(process.argv[1])) return;
      clearInterval(timer);
      console.log(JSON.stringify(times));
    });
  }, ${KNOCK_INTERVAL_MS});
`;

class ProtectBench {
  readonly #stage: TwoHosts;
  readonly #machine: MachineType;
  readonly #watchMs: number;
  readonly #rows: Row[] = [];
  readonly #progress: Progress;

  constructor(stage: TwoHosts, machine: MachineType, watchMs: number, progress: Progress) {
    this.#stage = stage;
    this.#machine = machine;
    this.#watchMs = watchMs;
    this.#progress = progress;
  }

  async run(moves: number): Promise<Row[]> {
    this.#progress.step(`${this.#machine}: booting`);
    const guest = await StagedGuest.boot(this.#stage, { image: GUEST_IMAGE, machine: this.#machine });
    for (const host of HOST_NAMES) await guest.startDaemon(host);
    const free = await this.#stream(guest);
    await this.#epochs(guest);
    await this.#frames(guest);
    await this.#protectedStream(guest, free);
    await this.#moves(guest, moves);
    return this.#rows;
  }

  async #epochs(guest: StagedGuest): Promise<void> {
    this.#progress.step(`${this.#machine}: pause of an idle guest`);
    await guest.protect('A', '--max-age', String(IDLE_MAX_AGE_MS));
    const idle = await this.#watch(guest);
    const pauseMs = idle.pauseUs.p50 / 1000;
    this.#add('pause an epoch, idle guest', 'ms', pauseMs, 'target', PAUSE_TARGET_MS[this.#machine], 'at-most');
    this.#add(
      'its 99th percentile',
      'ms',
      idle.pauseUs.p99 / 1000,
      '5 x the median',
      pauseMs * P99_OF_MEDIAN,
      'at-most',
    );
    this.#progress.step(`${this.#machine}: pause of a guest that writes`);
    const script =
      'while [ -e /tmp/go ]; do dd if=/dev/zero of=/dev/shm/f bs=1M count=4 conv=notrunc; done 2>/dev/null';
    await guest.run(`touch /tmp/go; (${script}) >/dev/null 2>&1 &`);
    const busy = await this.#watch(guest);
    await guest.run('rm /tmp/go');
    const morePages = busy.dirtyPages - idle.dirtyPages;
    const more = ((busy.pauseUs.p50 - idle.pauseUs.p50) / 1000 / morePages) * MORE_PAGES;
    const name = `${MORE_PAGES} dirty pages more (by ${morePages} pages)`;
    this.#add(name, 'ms', more, 'target', MORE_PAGES_TARGET_MS, 'at-most');
    await guest.kemari('A', 'unprotect', GUEST_NAME);
  }

  /** Each answer is a frame that is held, and an epoch. */
  async #frames(guest: StagedGuest): Promise<void> {
    this.#progress.step(`${this.#machine}: frames, one at a time`);
    const free = await this.#knock();
    await guest.protect('A');
    const knocking = this.#knock();
    const info = await this.#watch(guest);
    const guarded = await knocking;
    const limit = info.pauseUs.p50 / 1000 + RELEASE_TARGET_MS;
    this.#add('held to released, one frame', 'ms', info.releaseUs.p50 / 1000, 'pause + 0.6 ms', limit, 'at-most');
    this.#add('JavaScript of that', '%', info.scriptShare * 100, 'target', SCRIPT_TARGET * 100, 'at-most');
    this.#add('SYN to RST, at the client', 'ms', guarded, 'unprotected', free, undefined);
    await guest.kemari('A', 'unprotect', GUEST_NAME);
  }

  async #protectedStream(guest: StagedGuest, free: number): Promise<void> {
    await guest.protect('A');
    const guarded = await this.#stream(guest);
    this.#add('TCP stream out of the guest', 'MB/s', guarded, 'unprotected', free, 'at-least', STREAM_TARGET);
    await guest.kemari('A', 'unprotect', GUEST_NAME);
  }

  async #moves(guest: StagedGuest, moves: number): Promise<void> {
    const downMs: number[] = [];
    for (let move = 0; move < moves; move++) {
      const from: HostName = move % 2 === 0 ? 'A' : 'B';
      const to = otherHost(from);
      this.#progress.step(`${this.#machine}: live migration ${move + 1} of ${moves}`);
      await guest.kemari(from, 'migrate', GUEST_NAME, HOST_ADDRESSES[to].sync, '--live');
      const { takeover } = await guest.info(to);
      downMs.push((takeover?.resumedAtMs ?? NaN) - stoppedAtMs(guest.log(from)));
    }
    this.#add('live migration, guest stands still', 'ms', median(downMs), 'target', LIVE_TARGET_MS, 'at-most');
  }

  /** Megabytes a second of a file that the guest has in memory. */
  async #stream(guest: StagedGuest): Promise<number> {
    this.#progress.step(`${this.#machine}: a stream`);
    await guest.run(
      `[ -e /srv/www/big ] || dd if=/dev/urandom of=/srv/www/big bs=1M count=${STREAM_MIB}; cat /srv/www/big >/dev/null`,
    );
    const curl = ['curl', '-sS', '-o', '/dev/null', '-w', '%{speed_download}', `http://${GUEST_ADDRESS}/big`];
    const rates: number[] = [];
    for (let round = 0; round < 3; round++) rates.push(Number(await this.#stage.machines.client.run(curl)) / 1e6);
    return median(rates);
  }

  /** Median round trip in milliseconds: one SYN in, one RST out, four times a second. */
  async #knock(): Promise<number> {
    const count = Math.floor(this.#watchMs / KNOCK_INTERVAL_MS);
    const said = await this.#stage.machines.client.run([process.execPath, '-e', KNOCKER, String(count)]);
    return median(JSON.parse(said) as number[]);
  }

  async #watch(guest: StagedGuest): Promise<ProtectionInfo> {
    await delay(this.#watchMs);
    const { protection } = await guest.info('A');
    if (protection?.state === 'protected') return protection;
    throw new Error(`the guest is ${protection?.state ?? 'unprotected'} while it is measured\n${guest.log('A')}`);
  }

  #add(
    name: string,
    unit: string,
    ours: number,
    against: string,
    peer: number,
    bound: Row['bound'] | undefined,
    target = 1,
  ): void {
    const ratio = ours / peer;
    this.#rows.push({
      ...{ name: `${this.#machine}, ${name}`, unit, ours, against, peer, ratio, low: ratio, high: ratio },
      ...{ bound: bound ?? 'at-most', target: bound === undefined ? undefined : target },
    });
  }
}

/** When the source last said that the guest stops: milliseconds of Unix time. */
function stoppedAtMs(log: string): number {
  const line = log.split('\n').findLast((text) => text.includes('the guest stops here')) ?? '';
  return Date.parse(line.trim().split(' ')[0] ?? '');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      machines: { type: 'string', default: 'q35,microvm' },
      seconds: { type: 'string', default: '12' },
      moves: { type: 'string', default: '5' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (GUEST_MISSING !== undefined) throw new Error(`it needs ${GUEST_MISSING}`);
  const machines = values.machines.split(',') as MachineType[];
  const progress = new Progress(machines.length * (6 + Number(values.moves)));
  const rows: Row[] = [];
  for (const machine of machines) {
    const stage = await TwoHosts.up(`bench-${machine}`, { owned: true });
    try {
      rows.push(
        ...(await new ProtectBench(stage, machine, Number(values.seconds) * 1000, progress).run(Number(values.moves))),
      );
    } finally {
      await stage.down();
    }
  }
  process.stdout.write(`${formatTable(rows)}\n`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 2)}\n`);
}

try {
  await main();
  process.exit(0);
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exit(1);
}
