import { EXTRA_MS, ratedInAbout, secondsInGuest, type Workload } from './workload.js';

const KIB_PER_MIB = 1024;
const FILE = '/srv/iozone';
const FILE_MIB = 64;

interface Phase {
  readonly name: string;
  readonly title: string;
  /** iozone(1): the test, and whether the file is there already. */
  readonly flags: string;
  readonly recordKib: number;
  /** Of the part of the file that is gone through. */
  readonly leastRecords: number;
  /** How often it is gone through. */
  readonly passes?: number;
}

/**
 * One test of iozone(1) a run, without its retests, the flush included (-e): its own figures go by the guest's clock, so what
 * counts is how long all of it took outside. The page cache is the guest's; only O_SYNC bypasses it.
 */
function iozone({ name, title, flags, recordKib, leastRecords, passes = 1 }: Phase): Workload {
  return {
    name: `iozone-${name}`,
    title: `iozone, ${title}`,
    unit: 'MiB/s',
    async run({ shell, seconds }) {
      const amounts = { least: leastRecords, most: (FILE_MIB * KIB_PER_MIB) / recordKib };
      const rate = await ratedInAbout(seconds, amounts, async (records) => {
        const size = `-r ${recordKib}k -s ${records * recordKib}k -f ${FILE}`;
        // What a test needs to be there, and nothing of the one before in memory.
        const whole = `[ "$(stat -c %s ${FILE} 2>/dev/null || echo 0)" -ge ${records * recordKib * 1024} ]`;
        const make = `${whole} || iozone -i 0 -+n -w -e ${size} >/dev/null`;
        await shell.mustRun(`${make}; sync; echo 3 >/proc/sys/vm/drop_caches`, EXTRA_MS);
        return secondsInGuest(shell, `iozone ${flags} -+n -w -e ${size} >/dev/null`);
      });
      return (rate * passes * recordKib) / KIB_PER_MIB;
    },
  };
}

const RECORDS = [
  { recordKib: 128, record: '128 KiB', leastRecords: 32 },
  { recordKib: 4, record: '4 KiB', leastRecords: 256 },
] as const;

/** Each waits for at least one epoch, under Remus for three with the journal's. */
const LEAST_SYNC_RECORDS = 8;

export const IOZONE: readonly Workload[] = [
  ...RECORDS.flatMap(({ recordKib, record, leastRecords }) => {
    const phase = (test: string, flags: string, more: Partial<Phase> = {}): Workload =>
      iozone({ name: `${test}-${recordKib}k`, title: `${test}, ${record}`, flags, recordKib, leastRecords, ...more });
    return [
      phase('write', '-i 0'),
      phase('rewrite', '-i 0 -+N'),
      phase('read', '-i 1'),
      phase('random', '-i 2', { passes: 2 }),
      phase('sync', '-i 0 -o', { title: `write, ${record}, O_SYNC`, leastRecords: LEAST_SYNC_RECORDS }),
    ];
  }),
];
