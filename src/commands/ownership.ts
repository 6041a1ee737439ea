import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import { KemariError } from '../base/errors.js';
import { hostId } from '../host/host-id.js';
import type { HostPaths } from '../host/paths.js';
import {
  readOwnership,
  removeOwnership,
  writeOwnership,
  writeOwnershipBeside,
  type OwnershipRecord,
} from '../host/ownership-record.js';
import type { DomainConfig } from '../model/domain-config.js';
import { markPath, readMark, removeMark, writeMark, type DiskMark } from '../storage/mark.js';

/** The other side of a protection, as it is remembered. */
export interface OwnershipPeer {
  readonly hostName: string;
  readonly addresses: readonly string[];
}

/**
 * Which host a domain belongs to: a record on each host that had to do with it, and a mark beside each image file. Nothing is
 * written of domains that were never protected.
 */
export class Ownership {
  readonly #host: HostPaths;

  constructor(host: HostPaths) {
    this.#host = host;
  }

  /** How often the domain has changed its host; 0 when nothing is remembered. Errors: `KEMARI_OWNERSHIP_UNREADABLE`. */
  generation(uuid: string): number {
    return readOwnership(this.#host, uuid)?.generation ?? 0;
  }

  /**
   * Refuses to start a domain here that another host may be running.
   *
   * Errors: `KEMARI_OWNED_ELSEWHERE`, `KEMARI_OWNERSHIP_UNREADABLE`.
   */
  check(config: DomainConfig): void {
    const record = readOwnership(this.#host, config.uuid);
    if (record?.peer !== undefined) throw elsewhere(config, recordText(record));
    const own = hostId(this.#host);
    for (const path of markPaths(config)) {
      const mark = readMark(path);
      if (mark === undefined) continue;
      if (mark.hostId !== own) throw elsewhere(config, markText(path, mark));
      if (mark.uuid !== config.uuid) throw elsewhere(config, `${path} says that the disk is domain "${mark.name}"'s`);
    }
  }

  /** The operator answers for it that no other host runs the domain. What is damaged counts for nothing. */
  claim(config: DomainConfig): void {
    const known = [
      ignoreUnreadable(() => readOwnership(this.#host, config.uuid)?.generation),
      ...markPaths(config).map((path) => ignoreUnreadable(() => readMark(path)?.generation)),
    ];
    this.#own(config, Math.max(0, ...known.map((generation) => generation ?? 0)) + 1, undefined);
  }

  /**
   * Before protection is asked for: should this host go down, `peer` may go on. It also marks the image files, which is how
   * the peer sees that its own are the same. Errors: `KEMARI_OWNERSHIP_WRITE`, `KEMARI_OWNERSHIP_UNREADABLE`.
   */
  protect(config: DomainConfig, peer: OwnershipPeer): void {
    this.#own(config, this.generation(config.uuid), peer);
  }

  /**
   * The guest is about to go on here without `peer`, which may have a copy of it. From then on this host's kemarid never says
   * of a process that ended that its claim has (host/claim.ts). Errors: `KEMARI_OWNERSHIP_WRITE`.
   */
  goOnAlone({ uuid, name }: DomainConfig, generation: number): void {
    writeOwnership(this.#host, { uuid, name, generation, role: 'owner' });
  }

  /**
   * The same for a takeover, while the machine is being loaded, whose time is short: nothing else waits for the disk. Returns
   * how to take it back where the takeover came to nothing. Errors: `KEMARI_OWNERSHIP_WRITE`.
   */
  async goOnAloneBeside({ uuid, name }: DomainConfig, generation: number): Promise<() => void> {
    const before = ignoreUnreadable(() => readOwnership(this.#host, uuid));
    await writeOwnershipBeside(this.#host, { uuid, name, generation, role: 'owner' });
    return () => {
      if (before === undefined) removeOwnership(this.#host, uuid);
      else writeOwnership(this.#host, before);
    };
  }

  /** The guest runs here from now on, and nobody else may. `generation`: the new one. */
  tookOver(config: DomainConfig, generation: number): void {
    this.#own(config, generation, undefined);
  }

  /** The guest runs on `peer` from now on, whose `generation` it is. */
  gaveAway(config: DomainConfig, generation: number, peer: OwnershipPeer): void {
    writeOwnership(this.#host, { uuid: config.uuid, name: config.name, generation, role: 'gave', peer });
  }

  /** Protection has ended, or never began, and the guest runs here: nobody else may go on with it. */
  endProtection(config: DomainConfig): void {
    const generation = this.generation(config.uuid);
    if (generation === 0) this.release(config);
    else this.#own(config, generation, undefined);
  }

  /**
   * The domain has ended, on both sides: nothing keeps it from being created anew. Of one that ever changed its host the
   * generation is remembered: a host that missed it may still ask.
   */
  release(config: DomainConfig): void {
    const { uuid, name } = config;
    const generation = ignoreUnreadable(() => this.generation(uuid)) ?? 0;
    const own = hostId(this.#host);
    for (const path of markPaths(config)) {
      if (ignoreUnreadable(() => readMark(path))?.hostId === own) removeMark(path);
    }
    if (generation === 0) removeOwnership(this.#host, uuid);
    else writeOwnership(this.#host, { uuid, name, generation, role: 'owner' });
  }

  /** A domain that ran here unprotected has ended in order. What is said of another side stays. */
  ended(config: DomainConfig): void {
    const record = readOwnership(this.#host, config.uuid);
    if (record?.role === 'owner' && record.peer === undefined) this.release(config);
  }

  #own(config: DomainConfig, generation: number, peer: OwnershipPeer | undefined): void {
    const { uuid, name } = config;
    writeOwnership(this.#host, { uuid, name, generation, role: 'owner', ...(peer === undefined ? {} : { peer }) });
    const mark = { uuid, name, generation, hostId: hostId(this.#host), hostName: hostname() };
    for (const path of markPaths(config)) writeMark(path, mark);
  }
}

function markPaths(config: DomainConfig): string[] {
  const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  return config.disks.flatMap((disk) => markPath(disk, isFile) ?? []);
}

function ignoreUnreadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof KemariError && error.code === 'KEMARI_OWNERSHIP_UNREADABLE') return undefined;
    throw error;
  }
}

function elsewhere(config: DomainConfig, found: string): KemariError {
  return new KemariError(
    'KEMARI_OWNED_ELSEWHERE',
    `domain "${config.name}" may belong to another host: ${found}. Look there ("kemari list"); only when you know that it ` +
      'runs on no other host: "kemari create --claim"',
  );
}

function recordText({ role, peer, generation, atMs }: OwnershipRecord): string {
  const where = `${peer?.hostName ?? 'unknown'} (${peer?.addresses.join(', ') ?? ''})`;
  const when = `since ${new Date(atMs).toISOString()}, generation ${generation}`;
  return role === 'gave'
    ? `it was handed over to ${where}, ${when}`
    : `it was protected by ${where}, ${when}, and that did not end in order: it may have been taken over`;
}

function markText(path: string, { hostName, name, generation, atMs }: DiskMark): string {
  return `${path} says that domain "${name}" runs on ${hostName} since ${new Date(atMs).toISOString()}, generation ${generation}`;
}
