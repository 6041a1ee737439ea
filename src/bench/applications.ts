import { setTimeout as delay } from 'node:timers/promises';
import { KemariError } from '../base/errors.js';
import { EXTRA_MS, ratedInAbout, rateWhile, secondsInGuest, type Amounts, type Workload } from './workload.js';

const MS_PER_S = 1000;

const SET_REQUESTS: Readonly<Record<1 | 16, Amounts>> = {
  1: { least: 64, most: 20_000 },
  16: { least: 1024, most: 200_000 },
};

/** redis-benchmark(1) on the client, against a redis that syncs every write before it answers. */
function redis(pipeline: 1 | 16): Workload {
  return {
    name: `redis-set-p${pipeline}`,
    title: `redis SET, pipeline ${pipeline}, appendfsync always`,
    unit: 'requests/s',
    async run({ shell, client, seconds }) {
      const command = ['redis-benchmark', '-h', shell.address, '-t', 'set', '-P', String(pipeline), '--csv'];
      return ratedInAbout(seconds, SET_REQUESTS[pipeline], async (requests) => {
        const said = await client(
          [...command, '-n', String(requests), '-c', '16', '-d', '64', '-r', '10000'],
          EXTRA_MS,
        );
        const rate = Number(/^"SET","([\d.]+)"/m.exec(said)?.[1]);
        if (!(rate > 0)) throw new KemariError('KEMARI_BENCH_GUEST', `redis-benchmark printed no rate: ${said}`);
        return requests / rate;
      });
    },
  };
}

const DIRTIED = '/dev/shm/dirtied';
const DIRTIED_MIB = 64;
/** The process that reads what is hashed, and what it passes it through. */
const HASHING = '/run/hashing';
const ZEROES = '/run/zeroes';
/** There are to be some epochs of a guest that is synchronized by its age. */
const LEAST_COMPUTING_S = 5;

/**
 * CPU work that leaves nothing: how fast zeroes are hashed while fio(1) writes memory at a rate. The rate is what a guest of
 * this speed can be asked for, 0 for none.
 */
function dirtier(mibPerSecond: number): Workload {
  // Laid out before: fio would do it as fast as it can, which is another load than the one that is asked for.
  const layOut = `dd if=/dev/zero of=${DIRTIED} bs=1M count=${DIRTIED_MIB} 2>/dev/null`;
  const fio =
    `fio --name=dirty --filename=${DIRTIED} --size=${DIRTIED_MIB}m --rw=randwrite --bs=4k --ioengine=mmap ` +
    `--overwrite=1 --rate=${mibPerSecond}m --time_based --runtime=600`;
  const untilItWrites = `until ! cmp -s -n ${DIRTIED_MIB << 20} ${DIRTIED} /dev/zero; do usleep 20000; done`;
  // Nothing of what goes on holds the answer back.
  const detached = (script: string): string => `setsid sh -c '${script}' </dev/null >/dev/null 2>&1 &`;
  const dirty = `${layOut}; ${detached(`exec ${fio}`)} ${untilItWrites}; `;
  const hash = detached(
    `mkfifo ${ZEROES}; sha256sum <${ZEROES} & echo $$ >${HASHING}; exec dd if=/dev/zero of=${ZEROES} bs=64k`,
  );
  return {
    name: `cpu-dirty-${mibPerSecond}`,
    title: `CPU-bound, ${mibPerSecond} MiB/s of memory dirtied, no output`,
    unit: 'MiB/s',
    async run({ shell, seconds, counted }) {
      const read = async (): Promise<number> => {
        const said = await shell.mustRun(`cat /proc/$(cat ${HASHING})/io`, EXTRA_MS);
        const bytes = Number(/^rchar: (\d+)$/m.exec(said)?.[1]);
        if (Number.isNaN(bytes))
          throw new KemariError('KEMARI_BENCH_GUEST', `what hashes says nothing of its reads: ${said}`);
        return bytes / (1 << 20);
      };
      await shell.mustRun(
        `${mibPerSecond > 0 ? dirty : ''}${hash} until [ -s ${HASHING} ]; do usleep 20000; done`,
        EXTRA_MS,
      );
      try {
        return await rateWhile(read, () => counted(() => delay(Math.max(seconds, LEAST_COMPUTING_S) * MS_PER_S)));
      } finally {
        await shell.mustRun(`killall dd fio 2>/dev/null; rm -f ${DIRTIED} ${HASHING} ${ZEROES}`, EXTRA_MS);
      }
    },
  };
}

const POSTGRES = '/usr/lib/postgresql/15/bin';
const POSTGRES_HOME = '/var/lib/postgresql';
const PGBENCH_CLIENTS = 4;

/** pgbench(1) on the client, against a database that hack/bench-image has filled: each transaction waits for its commit. */
const pgbench: Workload = {
  name: 'pgbench',
  title: `pgbench, TPC-B-like, ${PGBENCH_CLIENTS} clients`,
  unit: 'transactions/s',
  needsDatabase: true,
  async run({ shell, client, seconds }) {
    const start = `${POSTGRES}/pg_ctl --pgdata=${POSTGRES_HOME}/data --wait --log=/dev/null start`;
    await shell.mustRun(
      `[ -S ${POSTGRES_HOME}/.s.PGSQL.5432 ] || su postgres -c '${start}' </dev/null >/dev/null 2>&1`,
      EXTRA_MS,
    );
    const load = ['--no-vacuum', '--client', String(PGBENCH_CLIENTS), '--time', String(seconds)];
    const said = await client(
      [`${POSTGRES}/pgbench`, '--host', shell.address, '--username', 'postgres', ...load, 'postgres'],
      seconds * MS_PER_S + EXTRA_MS,
    );
    const rate = Number(/^tps = ([\d.]+)/m.exec(said)?.[1]);
    if (!(rate > 0)) throw new KemariError('KEMARI_BENCH_GUEST', `pgbench printed no rate: ${said}`);
    return rate;
  },
};

/** fio(1): random writes past the page cache, a number of them. */
const FIO_WRITES: Amounts = { least: 64, most: 16_000 };
const fio: Workload = {
  name: 'fio-randwrite-4k',
  title: 'fio, 4 KiB random write, direct, depth 16',
  unit: 'requests/s',
  async run({ shell, seconds }) {
    const job = '--rw=randwrite --bs=4k --iodepth=16 --ioengine=io_uring --direct=1 --size=64m --filename=/srv/fio';
    await shell.mustRun(
      '[ -e /srv/fio ] || { dd if=/dev/zero of=/srv/fio bs=1M count=64 2>/dev/null; sync; }',
      EXTRA_MS,
    );
    return ratedInAbout(seconds, FIO_WRITES, (writes) =>
      secondsInGuest(shell, `fio --name=bench ${job} --number_ios=${writes} >/dev/null`),
    );
  },
};

/** Files translated. */
const UNITS: Amounts = { least: 4, most: 4000 };
const SOURCE_LINES = 600;
const UNITS_PER_LINK = 20;

/**
 * What a kernel's build is to a hypervisor, without a compiler in the guest: short processes one after the other, each of which reads
 * a source, works on it in memory of its own, and leaves a file in the page cache; now and then they are put together.
 * Nothing is synced before the end.
 */
const build: Workload = {
  name: 'build',
  title: 'build-like: processes that read, compute and leave files',
  unit: 'files/s',
  async run({ shell, seconds }) {
    const source = `[ -e /srv/source.c ] || seq 1 ${SOURCE_LINES} | awk '{ print "int f" $1 "(int x) { return x * " $1 * 7919 % 1009 "; }" }' >/srv/source.c`;
    const translate = `tr -s ' (){};' '\\n' </srv/source.c | sort | uniq -c | gzip -1 >/srv/build/$i.o`;
    const link = `[ $((i % ${UNITS_PER_LINK})) -ne 0 ] || cat /srv/build/*.o >/srv/build/program`;
    await shell.mustRun(`mkdir -p /srv/build; ${source}`, EXTRA_MS);
    return ratedInAbout(seconds, UNITS, (units) =>
      secondsInGuest(
        shell,
        `rm -f /srv/build/*; i=0; while [ $i -lt ${units} ]; do i=$((i + 1)); ${translate}; ${link}; done; sync`,
      ),
    );
  },
};

export const APPLICATIONS: readonly Workload[] = [
  redis(1),
  redis(16),
  pgbench,
  fio,
  build,
  ...[0, 10, 50, 100].map(dirtier),
];
