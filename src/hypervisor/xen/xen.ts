import { readFileSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { KemariError } from '../../base/errors.js';
import { addon } from '../../native/addon.js';
import type { Hypervisor, Machine, MachineOptions } from '../contract.js';
import { readBlueprint } from './blueprint.js';
import { XenMachine, type XenMachineParts } from './machine.js';
import { listDomains, xl, type ToolstackDomain } from './toolstack.js';
import { createWaitingDomain } from './waiting-domain.js';

/** Whether this is dom0 of a Xen. */
export function isControlDomain(): boolean {
  try {
    return readFileSync('/proc/xen/capabilities', 'latin1').includes('control_d');
  } catch {
    return false;
  }
}

/**
 * Xen with patches/xen, and its own toolstack. A machine that is not to wait for another's state is one that runs already: it
 * is found by the domain's UUID, and goes on as it is.
 */
export class Xen implements Hypervisor {
  createRam(): undefined {
    return undefined;
  }

  /** Errors: `KEMARI_XEN_...`. */
  async start(options: MachineOptions): Promise<Machine> {
    if (options.waiting !== undefined) return this.#waitOn(options, options.waiting);
    return options.incoming === true ? this.#wait(options) : this.#find(options);
  }

  async #find(options: MachineOptions): Promise<Machine> {
    const { name, uuid } = options.config;
    const found = (await listDomains()).find(({ config }) => config.c_info.uuid === uuid);
    if (found === undefined) throw new KemariError('KEMARI_XEN_GONE', `Xen has no domain "${name}" with uuid ${uuid}`);
    const domain = new addon.XenDomain({ domid: found.domid });
    const { hasPvContext, frameCount } = domain.info();
    if (!hasPvContext) {
      throw new KemariError(
        'KEMARI_XEN_UNPATCHED',
        "this hypervisor does not tell what it keeps for a guest; it needs kemari's series (patches/xen)",
      );
    }
    // A guest that runs stays as it is when this fails: the machine is nobody's to end until then.
    await serveDevices(options, found.domid);
    return this.#machine(options, found, { waits: false, frameCount });
  }

  async #wait(options: MachineOptions): Promise<Machine> {
    const { domid: primaryDomid, config, shape } = readBlueprint(options.blueprint);
    const directory = options.privateDirectory;
    const domid = await createWaitingDomain({ config, shape, directory, domid: primaryDomid });
    try {
      await serveDevices(options, domid);
      return this.#machine(options, { domid, config }, { waits: true, frameCount: shape.frameCount });
    } catch (error) {
      await xl('destroy', String(domid));
      throw error;
    }
  }

  async #waitOn(options: MachineOptions, waiting: Machine): Promise<Machine> {
    assert(waiting instanceof XenMachine, 'a machine goes on waiting at its own hypervisor');
    await serveDevices(options, waiting.domid);
    return waiting.succeededBy(options.onEvent);
  }

  #machine(
    options: MachineOptions,
    { domid, config }: ToolstackDomain,
    how: Pick<XenMachineParts, 'waits' | 'frameCount'>,
  ): XenMachine {
    options.onXenDomain(domid);
    const { onEvent } = options;
    return new XenMachine({ domid, config, ...how, vcpus: options.config.vcpus, onEvent });
  }
}

/** In the order of a checkpoint. */
async function serveDevices({ config, backEnds }: MachineOptions, domid: number): Promise<void> {
  for (const index of config.disks.keys()) await backEnds.xenDisk(index, domid);
  for (const index of config.vifs.keys()) await backEnds.xenVif(index, domid);
}
