import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { DomainInfo } from '../host/contract.js';
import type { EpochRecord } from '../host/epoch-record.js';
import { identifyProcess, isRunning } from '../host/process-identity.js';
import type { GuestShell } from '../stage/guest-shell.js';
import type { HostName } from '../stage/names.js';
import { GUEST_NAME, type StagedGuest } from '../stage/staged-guest.js';
import { freeze, thaw } from './freeze.js';
import type { ServedGuest } from './served-guest.js';

const END_TIMEOUT_MS = 20_000;

/** A guest on two hosts of this machine, with the kemarid of its standby. */
export class StagedService implements ServedGuest {
  readonly #guest: StagedGuest;
  #daemon: number;
  #plain = false;

  private constructor(guest: StagedGuest, daemon: number) {
    this.#guest = guest;
    this.#daemon = daemon;
  }

  /** Starts host B's kemarid. Errors: those of `StagedGuest.startDaemon`. */
  static async start(guest: StagedGuest): Promise<StagedService> {
    return new StagedService(guest, await guest.startDaemon('B'));
  }

  get shell(): GuestShell {
    return this.#guest.shell;
  }

  info(host: HostName): Promise<DomainInfo> {
    return this.#guest.info(host);
  }

  trace(): Promise<readonly EpochRecord[]> {
    return this.#guest.trace('A');
  }

  async protect(options: readonly string[]): Promise<void> {
    await this.#standbySpeaks(options.includes('--plain'));
    await this.#guest.protect('A', ...options);
  }

  async unprotect(): Promise<void> {
    await this.#guest.kemari('A', 'unprotect', GUEST_NAME);
  }

  freeze(processes: readonly number[]): Promise<void> {
    freeze(processes);
    return Promise.resolve();
  }

  thaw(processes: readonly number[]): Promise<void> {
    thaw(processes);
    return Promise.resolve();
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
}
