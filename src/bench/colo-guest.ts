import { cpus } from 'node:os';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { GuestShell } from '../stage/guest-shell.js';
import { HOST_ADDRESSES } from '../stage/topology.js';
import { pin, yieldWhenSending } from './colo-schedule.js';
import type { EpochFigures } from './ledger.js';
import { PauseMeter } from './pause-meter.js';
import { startPeer } from './peer-guest.js';
import type { PeerMachine } from './peer-machine.js';
import { placeOnStage, type PeerWorld } from './peer-world.js';
import type { Subject } from './subject.js';
import { Undo } from './undo.js';

const ADDRESS = '10.77.0.4';
const MAC = '00:16:3e:77:00:04';
const PORT = 9998;
/**
 * From the beginning of one checkpoint to the beginning of the next. One takes about 100 ms: with that as the interval the guest
 * runs in what is left, on a busy machine not at all.
 */
const CHECKPOINT_DELAY_MS = 1000;
const BEGIN_TIMEOUT_MS = 60_000;
/** Bytes a second: no bound of QEMU's own. */
const UNBOUNDED = 2 ** 40;

/** The disks of its two sides at storage: each side writes to its own, as with block replication. */
export const COLO_DISKS = { A: 'colo', B: 'colo-secondary' } as const;

/**
 * The same guest under QEMU's COLO with periodic checkpoints (docs/COLO-FT.txt): no packet is compared and none held back, so that
 * this is the least that its checkpoints cost. Each side has a CPU and a disk of its own, which is not replicated: the waiting guest may fall over
 * it, until the next checkpoint. Both sides are started anew each time.
 */
export class ColoGuest implements Subject {
  readonly shell: GuestShell;
  readonly #world: PeerWorld;
  #meter = new PauseMeter();
  #undo = new Undo();

  constructor(world: PeerWorld, undo: Undo) {
    this.#world = world;
    this.shell = new GuestShell(ADDRESS, (command) => world.stage.machines.client.command(command));
    undo.defer('COLO', () => this.leave());
  }

  async enter(): Promise<void> {
    const meter = new PauseMeter();
    this.#meter = meter;
    const primary = await this.#start('A', meter);
    const secondary = await this.#start('B');
    const capabilities = { capabilities: [{ capability: 'x-colo', state: true }] };
    const parameters = { 'max-bandwidth': UNBOUNDED, 'x-checkpoint-delay': CHECKPOINT_DELAY_MS };
    await secondary.execute('migrate-set-capabilities', capabilities);
    await secondary.execute('migrate-incoming', { uri: `tcp:${HOST_ADDRESSES.B.sync}:${PORT}` });
    await primary.execute('migrate-set-capabilities', capabilities);
    await primary.execute('migrate-set-parameters', parameters);
    // A host each.
    await pin(primary.pid, 0);
    await pin(secondary.pid, cpus().length - 1);
    await primary.execute('migrate', { uri: `tcp:${HOST_ADDRESSES.B.sync}:${PORT}` });
    if (this.#world.like.accel === 'tcg') await yieldWhenSending(primary.pid);
    const begun = async (): Promise<boolean> => (await statusOf(primary)) === 'colo';
    if (await waitUntil(begun, { timeoutMs: BEGIN_TIMEOUT_MS })) return;
    const text = `COLO did not begin: its migration is ${await statusOf(primary)}; QEMU 7.2 with -M pc is known to do it`;
    throw new KemariError('KEMARI_BENCH_PROTECTION', text);
  }

  epochs(): Promise<EpochFigures | undefined> {
    return Promise.resolve(this.#meter.read());
  }

  async leave(): Promise<void> {
    const undo = this.#undo;
    this.#undo = new Undo();
    await undo.run();
  }

  #start(host: 'A' | 'B', meter?: PauseMeter): Promise<PeerMachine> {
    const nic = { address: ADDRESS, mac: MAC, tap: 'colo0' };
    const place = { ...placeOnStage(this.#world.stage, host, COLO_DISKS[host], nic), incoming: host === 'B' };
    return startPeer(this.#world, meter === undefined ? place : { ...place, onEvent: meter.onEvent }, this.#undo);
  }
}

async function statusOf(machine: PeerMachine): Promise<string> {
  const { status } = (await machine.execute('query-migrate')) as { status?: string };
  return status ?? 'none';
}
