import { KemariError } from '../base/errors.js';
import { launchDeviceModel } from '../host/launch.js';
import type { LiveDomain } from '../host/registry.js';
import { domainConfigOf } from '../hypervisor/xen/domain-config.js';
import { findDomain } from '../hypervisor/xen/toolstack.js';
import { isControlDomain } from '../hypervisor/xen/xen.js';
import { openHost } from './context.js';
import { deviceModelProgram } from './create.js';
import { Ownership } from './ownership.js';

export interface AttachOptions {
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * The domain of this name or domid: one that kemari has, or, in dom0, one that runs without it and is given a kemari-dm.
 *
 * Errors: `KEMARI_NO_SUCH_DOMAIN`; for what is attached those of `findDomain`, `domainConfigOf`, `Ownership.check`, `Registry.register`
 * and `launchDeviceModel`.
 */
export async function findOrAttach(root: string, nameOrDomid: string, options: AttachOptions): Promise<LiveDomain> {
  const registry = openHost(root);
  try {
    return await registry.find(nameOrDomid);
  } catch (error) {
    const isUnknown = error instanceof KemariError && error.code === 'KEMARI_NO_SUCH_DOMAIN';
    if (!isUnknown || !isControlDomain()) throw error;
  }
  const found = await findDomain(nameOrDomid);
  const config = domainConfigOf(found);
  new Ownership(registry.host).check(config);
  const domain = await registry.register(config, found.domid);
  options.onProgress(`attaching to domain ${found.domid}`);
  await launchDeviceModel(registry, domain, { program: deviceModelProgram(), flags: [], ...options });
  return domain;
}
