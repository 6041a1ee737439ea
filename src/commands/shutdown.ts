import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import { request } from '../host/control-client.js';
import type { LiveDomain, Registry } from '../host/registry.js';
import { openHost, targetOf, type DomainReference } from './context.js';

export interface ShutdownOptions {
  /** Return only when the guest has ended (or started over, where `on_poweroff` says so). */
  readonly wait: boolean;
  /** Longest time for `wait`; undefined: as long as it takes. */
  readonly timeoutMs: number | undefined;
}

/** How often a guest that shuts down is looked at. */
const POLL_INTERVAL_MS = 200;

/**
 * Asks a guest, or all of them, to power off (ACPI).
 *
 * Errors: those of `find` and `request`; `KEMARI_SHUTDOWN_TIMEOUT`.
 */
export async function shutdown(
  root: string,
  which: { readonly domain: string } | 'all',
  options: ShutdownOptions,
): Promise<DomainReference[]> {
  const registry = openHost(root);
  const domains = which === 'all' ? await registry.list() : [await registry.find(which.domain)];
  await Promise.all(domains.map((domain) => request(targetOf(domain), { verb: 'shutdown' })));
  if (options.wait) await Promise.all(domains.map((domain) => waitForEnd(registry, domain, options.timeoutMs)));
  return domains.map(({ domid, name }) => ({ domid, name }));
}

async function waitForEnd(registry: Registry, domain: LiveDomain, timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
  const ended = await waitUntil(() => hasEnded(registry, domain), { timeoutMs, everyMs: POLL_INTERVAL_MS });
  if (ended) return;
  throw new KemariError(
    'KEMARI_SHUTDOWN_TIMEOUT',
    `the guest of domain "${domain.name}" was asked to power off and still runs after ${timeoutMs} ms; ` +
      `"kemari destroy ${domain.name}" ends it`,
  );
}

async function hasEnded(registry: Registry, domain: LiveDomain): Promise<boolean> {
  if (await registry.removeIfStale(domain.domid)) return true;
  try {
    const { state } = await request(targetOf(domain), { verb: 'info' });
    return state !== 'shutting-down' && state !== 'dying';
  } catch (error) {
    // It hangs up when it ends: the next look finds it gone.
    if (error instanceof KemariError && error.code === 'KEMARI_NO_CONNECTION') return false;
    throw error;
  }
}
