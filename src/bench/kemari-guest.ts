import { setTimeout as delay } from 'node:timers/promises';
import { KemariError } from '../base/errors.js';
import type { GuestShell } from '../stage/guest-shell.js';
import { KEMARI_PROTECTIONS } from './catalogue.js';
import { countOf, figuresBetween, type EpochCount } from './epoch-figures.js';
import type { EpochFigures } from './ledger.js';
import type { Profiled } from './profiler.js';
import type { ServedGuest } from './served-guest.js';
import type { Subject } from './subject.js';

/** After protection began its first epochs are over: they carry what the copy left. */
const SETTLE_MS = 500;

/** A guest that kemari serves, protected on host B or not. Its standby is not armed: a stall of the machine is no failover. */
export class KemariGuest implements Subject {
  readonly #guest: ServedGuest;
  readonly #processes: readonly number[];
  #counted: EpochCount | undefined;
  #protected = false;

  private constructor(guest: ServedGuest, processes: readonly number[]) {
    this.#guest = guest;
    this.#processes = processes;
  }

  /** Of a guest that runs on host A; it stands still then. */
  static async adopt(guest: ServedGuest): Promise<KemariGuest> {
    const { dmPid, qemuPid } = await guest.info('A');
    if (qemuPid === undefined) throw new KemariError('KEMARI_STAGE', 'the guest has no QEMU');
    const adopted = new KemariGuest(guest, [qemuPid, dmPid]);
    await guest.freeze(adopted.#processes);
    return adopted;
  }

  get shell(): GuestShell {
    return this.#guest.shell;
  }

  async enter(protection: string): Promise<void> {
    await this.#guest.thaw(this.#processes);
    const options = KEMARI_PROTECTIONS[protection as keyof typeof KEMARI_PROTECTIONS];
    if (options === undefined) return;
    await this.#guest.protect(options);
    this.#protected = true;
    await delay(SETTLE_MS);
    await this.epochs();
  }

  async epochs(): Promise<EpochFigures | undefined> {
    if (!this.#protected) return undefined;
    const atMs = performance.now();
    const { protection } = await this.#guest.info('A');
    if (protection?.state !== 'protected') {
      throw new KemariError('KEMARI_BENCH_PROTECTION', `the guest is ${protection?.state ?? 'unprotected'} meanwhile`);
    }
    const before = this.#counted;
    this.#counted = countOf(protection, atMs);
    return before && figuresBetween(before, this.#counted, await this.#guest.trace());
  }

  async profiled(): Promise<Profiled> {
    const { qemuPid = 0, dmPid } = await this.#guest.info('A');
    const here = { QEMU: qemuPid, 'kemari-dm': dmPid };
    return this.#protected ? { ...here, xc_kemari_restore: (await this.#guest.info('B')).dmPid } : here;
  }

  async leave(): Promise<void> {
    if (this.#protected) await this.#guest.unprotect();
    this.#protected = false;
    this.#counted = undefined;
    await this.#guest.freeze(this.#processes);
  }
}
