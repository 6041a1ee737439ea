import { GuestShell } from '../stage/guest-shell.js';
import { freeze, thaw } from './freeze.js';
import type { EpochFigures } from './ledger.js';
import { PauseMeter } from './pause-meter.js';
import { startPeer } from './peer-guest.js';
import type { PeerMachine } from './peer-machine.js';
import { placeOnStage, type PeerWorld } from './peer-world.js';
import { StopAndCopy } from './stop-and-copy.js';
import type { Subject } from './subject.js';
import type { Undo } from './undo.js';

const ADDRESS = '10.77.0.3';

/** Its disk's name at storage. */
export const PLAIN_DISK = 'plain';

/** The same guest on host A with QEMU's own devices and nothing of kemari: unprotected, or stopped and copied now and then. */
export class PlainGuest implements Subject {
  readonly shell: GuestShell;
  readonly #machine: PeerMachine;
  readonly #meter: PauseMeter;
  readonly #copier: StopAndCopy;
  #copied = false;

  private constructor(shell: GuestShell, machine: PeerMachine, meter: PauseMeter, copier: StopAndCopy) {
    this.shell = shell;
    this.#machine = machine;
    this.#meter = meter;
    this.#copier = copier;
  }

  /** It is up, and stands still, when this resolves. */
  static async boot(world: PeerWorld, undo: Undo): Promise<PlainGuest> {
    const meter = new PauseMeter();
    const nic = { address: ADDRESS, mac: '00:16:3e:77:00:03', tap: 'plain0' };
    const place = placeOnStage(world.stage, 'A', PLAIN_DISK, nic);
    const machine = await startPeer(world, { ...place, onEvent: meter.onEvent }, undo);
    const copier = await StopAndCopy.prepare(machine, world.stage, undo);
    freeze(machine.processes);
    const shell = new GuestShell(ADDRESS, (command) => world.stage.machines.client.command(command));
    return new PlainGuest(shell, machine, meter, copier);
  }

  enter(protection: string): Promise<void> {
    thaw(this.#machine.processes);
    this.#copied = protection === 'stop-and-copy';
    if (this.#copied) this.#copier.start();
    return Promise.resolve();
  }

  epochs(): Promise<EpochFigures | undefined> {
    return Promise.resolve(this.#copied ? this.#meter.read() : undefined);
  }

  async leave(): Promise<void> {
    if (this.#copied) await this.#copier.end();
    freeze(this.#machine.processes);
  }
}
