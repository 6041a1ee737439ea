import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { identifyProcess, isRunning } from '../host/process-identity.js';
import type { GuestShell } from '../stage/guest-shell.js';
import { GUEST_NAME, type StagedGuest } from '../stage/staged-guest.js';
import { KEMARI_PROTECTIONS } from './catalogue.js';
import { countOf, figuresBetween, type EpochCount } from './epoch-figures.js';
import { freeze, thaw } from './freeze.js';
import type { EpochFigures } from './ledger.js';
import type { Profiled } from './profiler.js';
import type { Subject } from './subject.js';

/** After protection began its first epochs are over: they carry what the copy left. */
const SETTLE_MS = 500;
const END_TIMEOUT_MS = 20_000;

/** A guest that kemari serves, protected on host B or not. Its standby is not armed: a stall of the machine is no failover. */
export class KemariGuest implements Subject {
  readonly #guest: StagedGuest;
  readonly #processes: readonly number[];
  #counted: EpochCount | undefined;
  #protected = false;
  #daemon: number;
  #plain = false;

  private constructor(guest: StagedGuest, processes: readonly number[], daemon: number) {
    this.#guest = guest;
    this.#processes = processes;
    this.#daemon = daemon;
  }

  /** Of a guest that runs on host A; it stands still then. `daemon`: host B's kemarid. */
  static async adopt(guest: StagedGuest, daemon: number): Promise<KemariGuest> {
    const { dmPid, qemuPid } = await guest.info('A');
    if (qemuPid === undefined) throw new KemariError('KEMARI_STAGE', 'the guest has no QEMU');
    const adopted = new KemariGuest(guest, [qemuPid, dmPid], daemon);
    freeze(adopted.#processes);
    return adopted;
  }

  get shell(): GuestShell {
    return this.#guest.shell;
  }

  async enter(protection: string): Promise<void> {
    thaw(this.#processes);
    const options = KEMARI_PROTECTIONS[protection as keyof typeof KEMARI_PROTECTIONS];
    if (options === undefined) return;
    await this.#standbySpeaks(options.some((option) => option === '--plain'));
    await this.#guest.protect('A', ...options);
    this.#protected = true;
    await delay(SETTLE_MS);
    await this.epochs();
  }

  /** A kemarid speaks either in the clear or not. */
  async #standbySpeaks(plain: boolean): Promise<void> {
    if (plain === this.#plain) return;
    const daemon = identifyProcess(this.#daemon);
    process.kill(this.#daemon, 'SIGTERM');
    const ended = (): boolean => daemon === undefined || !isRunning(daemon);
    if (!(await waitUntil(ended, { timeoutMs: END_TIMEOUT_MS }))) {
      throw new KemariError('KEMARI_STAGE', `kemarid ${this.#daemon} of host B does not end`);
    }
    this.#daemon = await this.#guest.startDaemon('B', { plain });
    this.#plain = plain;
  }

  async epochs(): Promise<EpochFigures | undefined> {
    if (!this.#protected) return undefined;
    const atMs = Date.now();
    const { protection } = await this.#guest.info('A');
    if (protection?.state !== 'protected') {
      throw new KemariError('KEMARI_BENCH_PROTECTION', `the guest is ${protection?.state ?? 'unprotected'} meanwhile`);
    }
    const before = this.#counted;
    this.#counted = countOf(protection, atMs);
    return before && figuresBetween(before, this.#counted, await this.#guest.trace('A'));
  }

  async profiled(): Promise<Profiled> {
    const { qemuPid = 0, dmPid } = await this.#guest.info('A');
    const here = { QEMU: qemuPid, 'kemari-dm': dmPid };
    return this.#protected ? { ...here, xc_kemari_restore: (await this.#guest.info('B')).dmPid } : here;
  }

  async leave(): Promise<void> {
    if (this.#protected) await this.#guest.kemari('A', 'unprotect', GUEST_NAME);
    this.#protected = false;
    this.#counted = undefined;
    freeze(this.#processes);
  }
}
