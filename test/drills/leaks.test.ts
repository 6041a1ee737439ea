import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { hostPaths } from '../../src/host/paths.js';
import { Guest } from '../fixtures/guest.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

const ROUNDS = process.env['KEMARI_LONG'] === undefined ? 5 : 50;

/** The command lines of processes that name this guest's files. */
function processesOf(guest: Guest): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // it has ended meanwhile
      }
    })
    .filter((command) => command.includes(guest.folder));
}

async function linksOf(guest: Guest): Promise<string[]> {
  const [program, ...rest] = guest.network.inside(['ls', '/sys/class/net']);
  return (await execa(program, rest)).stdout.split('\n').sort();
}

guestTest(`${ROUNDS} domains that come and go leave no process, tap or file${missing}`, async (t) => {
  const guest = await Guest.boot();
  try {
    await guest.kemari('destroy', guest.name);
    const links = await linksOf(guest);
    for (let round = 0; round < ROUNDS; round += 1) {
      // The disk's lock of the domain before would refuse this one.
      await guest.kemari('create', '--paused', join(guest.folder, 'guest.toml'));
      t.true((await linksOf(guest)).length > links.length);
      await guest.kemari('destroy', guest.name);
    }
    t.deepEqual(processesOf(guest), []);
    t.deepEqual(await linksOf(guest), links);
    t.deepEqual(readdirSync(hostPaths(guest.root).domains), []);
  } finally {
    await guest.close();
  }
});
