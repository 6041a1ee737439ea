import { KemariError } from '../base/errors.js';
import { isStorageSilent, type DomainInfo, type ProtectionInfo } from '../host/contract.js';
import { request } from '../host/control-client.js';
import type { LiveDomain } from '../host/registry.js';
import { openHost, targetOf } from './context.js';

/** One line of `kemari top`. */
export interface TopRow {
  readonly domid: number;
  readonly name: string;
  readonly state: DomainInfo['state'] | 'unresponsive';
  /** CPU time since the look before, of one CPU, in [0, vcpus]; undefined at the first look. */
  readonly cpuShare: number | undefined;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly protection: ProtectionInfo | undefined;
  /** Its storage owes it answers. */
  readonly storageSilent: boolean;
}

/** A screen must not wait long for one domain that hangs. */
const REPLY_TIMEOUT_MS = 1_000;

/** Looks at all domains of a host, again and again; shares are of the time between two looks. */
export class Top {
  readonly #root: string;
  readonly #before = new Map<number, { readonly cpuSeconds: number; readonly atMs: number }>();

  /** Errors: those of `openHost`. */
  constructor(root: string) {
    openHost(root);
    this.#root = root;
  }

  async look(): Promise<TopRow[]> {
    const domains = await openHost(this.#root).list();
    return Promise.all(domains.map((domain) => this.#row(domain)));
  }

  async #row(domain: LiveDomain): Promise<TopRow> {
    const { domid, name } = domain;
    try {
      const info = await request(targetOf(domain), { verb: 'info' }, REPLY_TIMEOUT_MS);
      const { state, config, protection, cpuSeconds } = info;
      const { memoryBytes, vcpus } = config;
      const cpuShare = this.#share(domid, cpuSeconds);
      return {
        ...{ domid, name, state, memoryBytes, vcpus, protection, cpuShare },
        storageSilent: isStorageSilent(info),
      };
    } catch (error) {
      if (!(error instanceof KemariError)) throw error;
      return {
        ...{ domid, name, state: 'unresponsive', memoryBytes: 0, vcpus: 0 },
        ...{ protection: undefined, cpuShare: undefined, storageSilent: false },
      };
    }
  }

  #share(domid: number, cpuSeconds: number): number | undefined {
    const now = { cpuSeconds, atMs: performance.now() };
    const before = this.#before.get(domid);
    this.#before.set(domid, now);
    if (before === undefined || now.atMs <= before.atMs) return undefined;
    return Math.max(0, (cpuSeconds - before.cpuSeconds) * 1000) / (now.atMs - before.atMs);
  }
}
