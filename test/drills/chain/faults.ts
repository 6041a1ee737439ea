import { setTimeout as delay } from 'node:timers/promises';
import { asKemariError, messageOf } from '../../../src/base/errors.js';
import { sendSignal } from '../../../src/stage/namespace.js';
import { HOST_NAMES, otherHost, type HostName } from '../../../src/stage/names.js';
import { GUEST_NAME } from '../../../src/stage/staged-guest.js';
import { AUTO, isProtected, MANUAL, TAKEOVER_TIMEOUT_MS, until, type Scene } from '../../fixtures/two-hosts.js';
import type { Seeded } from './seeded.js';

/** What a fault works on: the guest runs on `host`, protected by the other one. */
export interface Struck extends Pick<Scene, 'stage' | 'guest'> {
  readonly host: HostName;
  readonly random: Seeded;
}

/** Something that happens to two hosts, and what has to come of it. */
export interface Fault {
  readonly name: string;
  /** Options of `kemari migrate` that it needs. */
  readonly protection: readonly string[];
  /** Where the guest goes on: with the other host, where it is, or on either of them; `anew`: here, from its disk. */
  readonly goesOn: 'there' | 'here' | 'either' | 'anew';
  /** Has it happen; fulfilled when it has, or when what had to be observed was. */
  readonly strike: (struck: Struck) => Promise<void>;
  /** After the guest went on: what must hold, before everything is mended. */
  readonly settle?: (struck: Struck) => Promise<void>;
}

/** That somebody stays silent can only be waited for. */
const SILENCE_MS = 2 * TAKEOVER_TIMEOUT_MS;
const STORAGE_GONE_MS = { low: 300, high: 1_500 } as const;
const HANDOVER_MS = { low: 0, high: 60 } as const;

/** How often a host has logged that its standby heard nothing. */
function silences({ guest }: Struck, host: HostName): number {
  return guest.log(host).split('nothing was heard of the primary').length - 1;
}

async function hangUp({ guest, host }: Struck): Promise<void> {
  sendSignal((await guest.info(otherHost(host))).dmPid, 'SIGHUP');
}

async function silent({ guest, host }: Struck): Promise<void> {
  await until('the primary is silent', async () => (await guest.info(host)).protection?.state === 'silent');
}

async function hasNoDomain({ guest }: Struck, host: HostName): Promise<void> {
  await until(`host ${host} has no domain`, async () => (await guest.kemari(host, 'list', '--json')).trim() === '[]');
}

function codeOf(error: unknown): string {
  return asKemariError(error).code;
}

/** Each is drilled; in which order, the seed decides. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'host killed',
    protection: AUTO,
    goesOn: 'there',
    strike: async ({ stage, host }) => {
      await stage.crash(host);
    },
  },
  {
    name: "host's processes killed",
    protection: AUTO,
    goesOn: 'there',
    strike: ({ stage, host }) => stage.machines[host].killAll(),
  },
  {
    name: 'kemari-dm killed',
    protection: AUTO,
    goesOn: 'there',
    strike: async ({ guest, host }) => {
      sendSignal((await guest.info(host)).dmPid, 'SIGKILL');
    },
  },
  {
    name: 'kemari-dm killed, SIGHUP',
    protection: MANUAL,
    goesOn: 'there',
    strike: async (struck) => {
      const { guest, host } = struck;
      sendSignal((await guest.info(host)).dmPid, 'SIGKILL');
      await hangUp(struck);
    },
  },
  {
    name: 'both hosts killed, the guest created anew',
    protection: AUTO,
    goesOn: 'anew',
    strike: async ({ stage, guest, host }) => {
      for (const one of HOST_NAMES) stage.machines[one].killNow();
      // Storage forgets them, as it would before an operator lets anything write there again.
      for (const one of HOST_NAMES) await stage.fence(one);
      await stage.cables.heal();
      for (const one of HOST_NAMES) await guest.startDaemon(one);
      const code = await guest.create(host).then(() => 'created', codeOf);
      if (code !== 'KEMARI_OWNED_ELSEWHERE') throw new Error(`"create" where it ran, unasked for: ${code}`);
      await guest.create(host, '--claim');
    },
  },
  {
    name: 'QEMU killed',
    protection: MANUAL,
    goesOn: 'there',
    strike: async ({ guest, host }) => {
      const { qemuPid } = await guest.info(host);
      if (qemuPid === undefined) throw new Error('a running guest has no QEMU');
      sendSignal(qemuPid, 'SIGKILL');
    },
    settle: (struck) => hasNoDomain(struck, struck.host),
  },
  {
    name: 'host stopped, continued after its takeover',
    protection: MANUAL,
    goesOn: 'there',
    strike: async (struck) => {
      const { stage, host } = struck;
      const before = silences(struck, otherHost(host));
      for (const pid of stage.machines[host].pids()) sendSignal(pid, 'SIGSTOP');
      await until('the standby hears nothing', () => silences(struck, otherHost(host)) > before);
      await hangUp(struck);
    },
    settle: async (struck) => {
      for (const pid of struck.stage.machines[struck.host].pids()) sendSignal(pid, 'SIGCONT');
      await hasNoDomain(struck, struck.host);
    },
  },
  {
    name: 'sync link cut, fenced',
    protection: AUTO,
    goesOn: 'there',
    strike: ({ stage }) => stage.cables.cut('sync'),
  },
  {
    name: 'sync link cut from the primary, fenced',
    protection: AUTO,
    goesOn: 'there',
    strike: ({ stage, host }) => stage.cables.cut('sync', host),
  },
  {
    name: 'sync link cut, held, mended',
    protection: MANUAL,
    goesOn: 'here',
    strike: async (struck) => {
      const { stage, random } = struck;
      await stage.cables.cut('sync', random.pick([undefined, 'A', 'B'] as const));
      await silent(struck);
      await stage.cables.heal();
    },
  },
  {
    name: 'sync link at 10 Mbit/s',
    protection: AUTO,
    goesOn: 'here',
    strike: ({ stage }) => stage.cables.shape('sync', '10mbit'),
  },
  {
    name: 'host killed while the sync link has 10 Mbit/s',
    protection: AUTO,
    goesOn: 'there',
    strike: async ({ stage, host, random }) => {
      await stage.cables.shape('sync', '10mbit');
      await delay(random.between(0, 1_000));
      await stage.crash(host);
    },
  },
  {
    name: 'standby killed',
    protection: MANUAL,
    goesOn: 'here',
    strike: async (struck) => {
      const { guest, host } = struck;
      sendSignal((await guest.info(otherHost(host))).dmPid, 'SIGKILL');
      await until('it goes on alone', async () => (await guest.info(host)).protection === undefined);
    },
  },
  {
    name: "standby's host killed, the operator answers for it",
    protection: MANUAL,
    goesOn: 'here',
    strike: async (struck) => {
      const { stage, guest, host } = struck;
      await stage.crash(otherHost(host));
      await silent(struck);
      await guest.kemari(host, 'resume', '--unprotected', GUEST_NAME);
    },
  },
  {
    name: 'SIGHUP while the primary lives',
    protection: MANUAL,
    goesOn: 'there',
    strike: hangUp,
    settle: (struck) => hasNoDomain(struck, struck.host),
  },
  {
    name: 'sync link lost during the handover',
    protection: MANUAL,
    goesOn: 'either',
    strike: async ({ stage, guest, host, random }) => {
      const asked = guest.kemari(host, 'switchover', GUEST_NAME).catch(messageOf);
      await delay(random.between(HANDOVER_MS.low, HANDOVER_MS.high));
      await stage.cables.cut('sync');
      await delay(random.between(0, SILENCE_MS));
      await stage.cables.heal();
      await asked;
    },
  },
  {
    name: 'storage slow',
    protection: AUTO,
    goesOn: 'here',
    strike: ({ stage }) => stage.cables.shape('storage', '20mbit'),
  },
  {
    name: 'storage gone, and back',
    protection: AUTO,
    goesOn: 'here',
    strike: async ({ stage, random }) => {
      await stage.cables.cut('storage');
      await delay(random.between(STORAGE_GONE_MS.low, STORAGE_GONE_MS.high));
      await stage.cables.heal();
    },
  },
];

/** Everything is as new, and the other host can protect the guest. */
export async function mend({ stage, guest }: Pick<Scene, 'stage' | 'guest'>, host: HostName): Promise<void> {
  // A slow link first: heal() has the hosts look for each other anew, and what they ask may be lost in a queue that is full.
  for (const link of ['sync', 'storage'] as const) await stage.cables.shape(link, undefined);
  await stage.cables.heal();
  const listening = async (one: HostName): Promise<boolean> =>
    (await stage.machines[one].run(['ss', '-Htln', 'src :8002'])) !== '';
  for (const one of [otherHost(host), host]) if (!(await listening(one))) await guest.startDaemon(one);
}

/** Protected so from here on, whatever was before. */
export async function protectAnew(scene: Scene, host: HostName, options: readonly string[]): Promise<void> {
  const { guest } = scene;
  if ((await guest.info(host)).protection !== undefined) {
    await isProtected(scene, host);
    await guest.kemari(host, 'unprotect', GUEST_NAME);
  }
  await until('nothing waits on the other host', async () => {
    return (await guest.kemari(otherHost(host), 'list', '--json')).trim() === '[]';
  });
  await guest.protect(host, ...options);
  await isProtected(scene, host);
}
