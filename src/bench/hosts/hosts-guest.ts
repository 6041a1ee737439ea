import type { DomainInfo } from '../../host/contract.js';
import type { EpochRecord } from '../../host/epoch-record.js';
import { GuestShell } from '../../stage/guest-shell.js';
import type { HostName } from '../../stage/names.js';
import type { ServedGuest } from '../served-guest.js';
import type { SshHost } from './ssh-host.js';

export interface HostsGuestOptions {
  readonly hosts: Readonly<Record<HostName, SshHost>>;
  readonly name: string;
  /** Of the guest. */
  readonly address: string;
  /** Of host B on the link between the hosts, as `kemari migrate` takes it. */
  readonly standby: string;
}

/** A guest that kemari serves on two hosts that ssh reaches. Errors of all: `KEMARI_BENCH_HOST` with what the host said. */
export class HostsGuest implements ServedGuest {
  readonly shell: GuestShell;
  readonly #options: HostsGuestOptions;

  constructor(options: HostsGuestOptions) {
    this.#options = options;
    this.shell = new GuestShell(options.address, (command) => command);
  }

  async info(host: HostName): Promise<DomainInfo> {
    return this.#ask<DomainInfo>(host, 'info');
  }

  async trace(): Promise<readonly EpochRecord[]> {
    return this.#ask<readonly EpochRecord[]>('A', 'trace');
  }

  async protect(options: readonly string[]): Promise<void> {
    const { name, standby } = this.#options;
    const policy = options.includes('--remus') ? [] : ['--kemari'];
    await this.#kemari('A', 'migrate', name, standby, ...policy, '--detach', ...options);
  }

  async unprotect(): Promise<void> {
    await this.#kemari('A', 'unprotect', this.#options.name);
  }

  async freeze(processes: readonly number[]): Promise<void> {
    await this.#signal('STOP', processes);
  }

  async thaw(processes: readonly number[]): Promise<void> {
    await this.#signal('CONT', processes);
  }

  async #signal(signal: string, processes: readonly number[]): Promise<void> {
    await this.#options.hosts.A.run(['kill', `-${signal}`, ...processes.map(String)]);
  }

  async #ask<T>(host: HostName, verb: string): Promise<T> {
    return JSON.parse(await this.#kemari(host, verb, this.#options.name, '--json')) as T;
  }

  async #kemari(host: HostName, ...args: readonly string[]): Promise<string> {
    return this.#options.hosts[host].run(['kemari', ...args]);
  }
}
