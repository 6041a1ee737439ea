import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from '../../src/host/control-client.js';
import { domainPaths, hostPaths } from '../../src/host/paths.js';
import { Guest } from '../fixtures/guest.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

const DATA_BYTES = 32 << 20;
const STOPS = 500;
/** Bounds a failure; under emulation on a busy machine the load takes half a minute. */
const LOAD_TIMEOUT_MS = 240_000;

/** Writes blocks that each carry their place, number and checksum, in random order, and reads all of them back. */
const LOAD = [
  'fio --name=load --filename=/dev/vdb --size=32M --rw=randwrite --bsrange=4k-64k --direct=1',
  '--ioengine=libaio --iodepth=16 --loops=3 --verify=crc32c --verify_fatal=1 --do_verify=1 --output-format=terse',
].join(' ');

/** A guest with a second disk that holds nothing yet. */
function bootWithDataDisk(machine: 'q35' | 'pc', queues: number): Promise<Guest> {
  return Guest.boot({
    machine,
    vcpus: queues,
    diskQueues: queues,
    vifQueues: queues,
    disks: [`format=raw, vdev=xvdb, access=rw, queues=${queues}, target=ROOT/data.img`],
    prepare: async (folder) => {
      await writeFile(join(folder, 'data.img'), '');
      await truncate(join(folder, 'data.img'), DATA_BYTES);
    },
  });
}

for (const machine of ['q35', 'pc'] as const) {
  for (const queues of [1, 2]) {
    const title = `${machine}, ${queues} queue${queues > 1 ? 's' : ''}: ${STOPS} stops under load lose and double no request`;
    guestTest(`${title}${missing}`, async (t) => {
      const guest = await bootWithDataDisk(machine, queues);
      try {
        const { domid } = await guest.info();
        let loading = true;
        const load = guest.run(LOAD, LOAD_TIMEOUT_MS).finally(() => {
          loading = false;
        });
        const { controlSocket } = domainPaths(hostPaths(guest.root), domid);
        const target = { name: guest.name, controlSocket };
        const times = await request(target, { verb: 'bench-stop-cont', count: STOPS });
        t.is(times.length, STOPS);
        t.true(loading, 'the load went on for as long as the stops');
        const { status, output } = await load;
        t.is(status, 0, output);
        const { disks, vifs } = await guest.info();
        t.deepEqual(
          disks.map(({ errors, inFlight }) => ({ errors, inFlight })),
          disks.map(() => ({ errors: 0, inFlight: 0 })),
        );
        t.is(vifs[0]?.dropped, 0);
        t.true((disks[1]?.writtenBytes ?? 0) >= 3 * DATA_BYTES);
        t.is(await guest.mustRun(`cat /sys/block/vdb/mq/*/cpu_list | wc -l`), `${queues}\n`);
      } finally {
        await guest.close();
      }
    });
  }
}

guestTest(`a guest boots from its disk's boot loader${missing}`, async (t) => {
  const guest = await Guest.boot({ boot: 'disk' });
  try {
    t.is((await guest.info()).config.boot.from, 'disk');
    t.regex(await guest.mustRun('cat /proc/cmdline'), /root=/);
  } finally {
    await guest.close();
  }
});
