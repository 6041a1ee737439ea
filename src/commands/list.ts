import { KemariError } from '../base/errors.js';
import type { DomainState } from '../model/domain-state.js';
import { isStorageSilent } from '../host/contract.js';
import { request } from '../host/control-client.js';
import { readConfig } from '../host/domain-record.js';
import type { LiveDomain, Registry } from '../host/registry.js';
import { openHost, targetOf } from './context.js';

/** One line of `kemari list`. */
export interface DomainSummary {
  readonly domid: number;
  readonly name: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  /** `unresponsive`: its kemari-dm does not answer in time. */
  readonly state: DomainState | 'unresponsive';
  /** Of a standby: its last takeover failed ("info" says why), what is committed is kept. */
  readonly takeoverFailed: boolean;
  /** Its storage owes it answers ("info" says for how long). */
  readonly storageSilent: boolean;
  /** undefined when its kemari-dm does not answer. */
  readonly cpuSeconds: number | undefined;
}

/** A table must not wait long for one domain that hangs. */
const REPLY_TIMEOUT_MS = 2_000;

/** All domains of a host, or the one that was named. Errors: those of `find`. */
export async function list(root: string, nameOrDomid?: string): Promise<DomainSummary[]> {
  const registry = openHost(root);
  const domains = nameOrDomid === undefined ? await registry.list() : [await registry.find(nameOrDomid)];
  return (await Promise.all(domains.map((domain) => summarize(registry, domain)))).flat();
}

/** Names of the domains of a host, without asking any of them: for shell completion. */
export async function domainNames(root: string): Promise<string[]> {
  return (await openHost(root).list()).map(({ name }) => name);
}

/** One line, or none when the domain ends while we look. */
async function summarize(registry: Registry, domain: LiveDomain): Promise<DomainSummary[]> {
  const { domid, name, paths } = domain;
  try {
    const info = await request(targetOf(domain), { verb: 'info' }, REPLY_TIMEOUT_MS);
    const { state, cpuSeconds } = info;
    const { memoryBytes, vcpus } = info.config;
    const faults = { takeoverFailed: info.standby?.failure !== undefined, storageSilent: isStorageSilent(info) };
    return [{ ...{ domid, name, memoryBytes, vcpus, state, cpuSeconds }, ...faults }];
  } catch (error) {
    if (!(error instanceof KemariError)) throw error;
    if (await registry.removeIfStale(domid)) return [];
    // Its control socket comes last when it starts and goes first when it ends.
    const state = error.code === 'KEMARI_NO_CONNECTION' ? 'starting' : 'unresponsive';
    const { memoryBytes, vcpus } = readConfig(paths);
    const unknown = { cpuSeconds: undefined, takeoverFailed: false, storageSilent: false };
    return [{ domid, name, memoryBytes, vcpus, state, ...unknown }];
  }
}
