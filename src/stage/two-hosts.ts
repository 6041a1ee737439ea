import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { KemariError, messageOf } from '../base/errors.js';
import { Cables } from './cables.js';
import { writeFence } from './fence.js';
import {
  fencePath,
  HOST_NAMES,
  hostRoot,
  MACHINE_NAMES,
  namespaceName,
  stageNames,
  type HostName,
  type MachineName,
  type StageNames,
} from './names.js';
import { Namespace } from './namespace.js';
import { abandonedStages, claimStage, releaseStage } from './stage-owner.js';
import { StorageHost } from './storage-host.js';
import { nowMs } from './wall-clock.js';
import { topologyBatches } from './topology.js';

const KEMARI = resolve(import.meta.dirname, '../cli/kemari.js');
const KEY_BYTES = 32;

/**
 * Two hosts, their storage and a client of their guests on one machine: five network namespaces. Each host has its own
 * root directory; both have the same key.
 */
export class TwoHosts {
  readonly names: StageNames;
  readonly machines: Readonly<Record<MachineName, Namespace>>;
  readonly cables: Cables;
  readonly storage: StorageHost;
  readonly #evidence: boolean;

  private constructor(names: StageNames, evidence = false) {
    this.names = names;
    this.#evidence = evidence;
    const machine = (name: MachineName): Namespace => new Namespace(namespaceName(names, name));
    this.machines = {
      A: machine('A'),
      B: machine('B'),
      client: machine('client'),
      storage: machine('storage'),
      switch: machine('switch'),
    };
    this.cables = new Cables(this.machines);
    this.storage = new StorageHost(this.machines.storage, names.disks);
  }

  /**
   * Builds a stage. `owned`: it is of this process only, and whoever builds one later removes it once this process is gone,
   * however that ended. `evidence`: what its hosts run keeps evidence (KEMARI_EVIDENCE). When building fails nothing is left.
   *
   * Errors: `KEMARI_STAGE`, `KEMARI_STAGE_NAME`, `KEMARI_STAGE_EXISTS` (with this name, by a process that lives or nobody).
   */
  static async up(name: string, options: { readonly owned: boolean; readonly evidence?: boolean }): Promise<TwoHosts> {
    for (const abandoned of abandonedStages()) await TwoHosts.down(abandoned);
    const stage = new TwoHosts(stageNames(name), options.evidence);
    claimStage(stage.names, options.owned);
    try {
      await stage.#build();
      return stage;
    } catch (error) {
      await stage.down().catch((second: unknown) => {
        throw new AggregateError([error, second], `${messageOf(error)}; and taking it down: ${messageOf(second)}`);
      });
      throw error;
    }
  }

  /** A stage that is up, made by whomever. Errors: `KEMARI_STAGE_NAME`, `KEMARI_STAGE_MISSING`. */
  static open(name: string): TwoHosts {
    const stage = new TwoHosts(stageNames(name));
    if (MACHINE_NAMES.every((machine) => stage.machines[machine].exists)) return stage;
    throw new KemariError('KEMARI_STAGE_MISSING', `two hosts "${name}" are not up; "hack/two-hosts up" makes them`);
  }

  /** Ends everything inside and removes every trace, also of a run that was killed. Idempotent. */
  static async down(name: string): Promise<void> {
    await new TwoHosts(stageNames(name)).down();
  }

  root(host: HostName): string {
    return hostRoot(this.names, host);
  }

  /** The command that `--fence-cmd` of the other host takes. */
  fenceCommand(host: HostName): string {
    return fencePath(this.names, host);
  }

  /** What a program on this machine finds in its environment: on a host, its root, the key and `kemari`. */
  environment(machine: MachineName): Record<string, string> {
    const path = `${this.names.bin}:${process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin'}`;
    if (machine !== 'A' && machine !== 'B') return { PATH: path };
    const evidence = this.#evidence ? { KEMARI_EVIDENCE: this.evidenceFolder(machine) } : {};
    return { PATH: path, KEMARI_ROOT: this.root(machine), KEMARI_KEY_FILE: this.names.key, ...evidence };
  }

  /** Where a host's processes keep evidence. */
  evidenceFolder(host: HostName): string {
    return join(this.names.directory, `evidence-${host}`);
  }

  /**
   * A host's power and cables are pulled: all of its processes get SIGKILL and its links go down, in this order.
   * Returns when the first signal was sent, in milliseconds of Unix time.
   */
  async crash(host: HostName): Promise<number> {
    const atMs = nowMs();
    this.machines[host].killNow();
    await this.cables.unplug(host);
    await this.machines[host].killAll();
    return atMs;
  }

  /** Runs the fence as the other host would. Errors: `KEMARI_STAGE` with what it could not verify. */
  async fence(host: HostName): Promise<string> {
    try {
      return (await execa(this.fenceCommand(host), { stdin: 'ignore' })).stdout;
    } catch (error) {
      throw new KemariError('KEMARI_STAGE', messageOf(error), { cause: error });
    }
  }

  async down(): Promise<void> {
    this.cables.release();
    for (const machine of MACHINE_NAMES) await this.machines[machine].remove();
    await rm(this.names.disks, { recursive: true, force: true });
    releaseStage(this.names);
  }

  async #build(): Promise<void> {
    const { names, machines } = this;
    await mkdir(names.bin, { recursive: true });
    for (const host of HOST_NAMES) {
      await mkdir(hostRoot(names, host), { mode: 0o700 });
      await mkdir(this.evidenceFolder(host));
      await writeFence(names, host);
    }
    await writeFile(names.key, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { mode: 0o600 });
    await writeFile(join(names.bin, 'kemari'), `#!/bin/sh\nexec '${process.execPath}' '${KEMARI}' "$@"\n`, {
      mode: 0o755,
    });
    for (const machine of MACHINE_NAMES) await machines[machine].add();
    for (const [machine, lines] of topologyBatches((name) => machines[name].name)) await machines[machine].ip(lines);
  }
}
