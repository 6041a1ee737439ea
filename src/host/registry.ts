import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DomainConfig } from '../model/domain-config.js';
import { KemariError, messageOf } from '../base/errors.js';
import { assert } from '../base/assert.js';
import { checkClaims, type OtherDomain } from './claims.js';
import { readConfig, readRecord, writeConfig, writeRecord, type DomainRecord } from './domain-record.js';
import { tryLockFile, unlock, withLock, type HeldLock } from './lock-file.js';
import { domainPaths, hostPaths, type DomainPaths, type HostPaths } from './paths.js';
import { endLeftDomain } from './left-domain.js';
import { isRunning, killProcess } from './process-identity.js';
import { waitUntil } from '../base/deadline.js';

/** A domain that is there: some process holds its lock. */
export interface LiveDomain {
  readonly domid: number;
  readonly name: string;
  readonly paths: DomainPaths;
}

/** A domid and its folder, made for a new domain; `lock` is to be handed to its kemari-dm. */
export interface RegisteredDomain extends LiveDomain {
  readonly lock: HeldLock;
}

/** Domids are [1, MAX_DOMID], as Xen's (DOMID_FIRST_RESERVED is 0x7ff0), and start over after the last one. */
const MAX_DOMID = 0x7fef;

/** How long the lock of the set of domains may be held by others before we give up. */
const HOST_LOCK_TIMEOUT_MS = 5_000;

/** How long a killed process may take to go: its memory and devices are freed first. */
const KILL_TIMEOUT_MS = 10_000;

/** A domain's folder while it is being made; nobody else looks at it. */
const UNFINISHED = '.new';

/**
 * The domains of one host. There is no daemon: the folder under `root` is the registry, and a domain lives for as long
 * as its lock is held. A folder whose lock is free is what a killed kemari-dm left behind; whoever meets it removes it.
 */
export class Registry {
  readonly host: HostPaths;

  /** Errors: `KEMARI_ROOT_TOO_LONG`, `KEMARI_ROOT_UNUSABLE`. */
  constructor(root: string) {
    this.host = hostPaths(root);
    domainPaths(this.host, MAX_DOMID);
    try {
      makeDirectory(this.host.domains);
      makeDirectory(this.host.logDirectory);
    } catch (error) {
      throw new KemariError('KEMARI_ROOT_UNUSABLE', `cannot use --root ${this.host.root}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * Gives a new domain its domid (`wantedDomid` where that is free), folder, configuration file and lock.
   *
   * Errors: `KEMARI_HOST_BUSY`, `KEMARI_NO_DOMID`, and those of `checkClaims`.
   */
  async register(config: DomainConfig, wantedDomid?: number): Promise<RegisteredDomain> {
    return withLock(this.host.lock, HOST_LOCK_TIMEOUT_MS, async () => {
      const live = await this.list();
      checkClaims(config, live.flatMap(readOther));
      const domid = this.#freeDomid(wantedDomid);
      const paths = domainPaths(this.host, domid);
      const unfinished = join(this.host.domains, UNFINISHED);
      rmSync(unfinished, { recursive: true, force: true });
      mkdirSync(unfinished, { mode: 0o700 });
      const lock = tryLockFile(join(unfinished, 'lock'), { create: true });
      assert(lock !== undefined, 'nobody else locks a file that was just made');
      const made = { ...paths, config: join(unfinished, 'config.json'), record: join(unfinished, 'record.json') };
      writeConfig(made, config);
      writeRecord(made, { name: config.name, createdAtMs: Date.now() });
      renameSync(unfinished, paths.directory);
      writeFileSync(this.host.nextDomid, String((domid % MAX_DOMID) + 1));
      return { domid, name: config.name, paths, lock };
    });
  }

  /** The domains that are there, by domid. Folders left behind are removed on the way. */
  async list(): Promise<LiveDomain[]> {
    const live: LiveDomain[] = [];
    for (const domid of this.#folders()) {
      const paths = domainPaths(this.host, domid);
      if (await this.removeIfStale(domid)) continue;
      // A domain that ends while we look is not there any more.
      try {
        live.push({ domid, name: readRecord(paths).name, paths });
      } catch (error) {
        if (await this.removeIfStale(domid)) continue;
        throw error;
      }
    }
    return live;
  }

  /**
   * The domain with this name or domid; a name that consists of digits is a domid, as in xl.
   *
   * Errors: `KEMARI_NO_SUCH_DOMAIN`, which lists what there is.
   */
  async find(nameOrDomid: string): Promise<LiveDomain> {
    const live = await this.list();
    const byDomid = /^\d+$/.test(nameOrDomid);
    const found = live.find(({ domid, name }) => (byDomid ? domid === Number(nameOrDomid) : name === nameOrDomid));
    if (found !== undefined) return found;
    const known = live.map(({ domid, name }) => `${name} (${domid})`).join(', ');
    throw new KemariError(
      'KEMARI_NO_SUCH_DOMAIN',
      `no domain "${nameOrDomid}" under ${this.host.root}; there is ${known === '' ? 'none' : known}`,
      { details: { domains: live.map(({ domid, name }) => ({ domid, name })) } },
    );
  }

  /**
   * Removes what is left of a domain whose kemari-dm is gone, after ending its QEMU if that outlived it. Returns true
   * when the domain does not exist (any more), false when it lives.
   *
   * Errors: `KEMARI_PROCESS_STUCK`.
   */
  async removeIfStale(domid: number): Promise<boolean> {
    const paths = domainPaths(this.host, domid);
    const lock = tryLockFile(paths.lock, { create: false });
    if (lock === undefined) return !this.#folders().includes(domid);
    try {
      await endLeftProcesses(paths);
      this.#removeFolder(domid);
    } finally {
      unlock(lock);
    }
    return true;
  }

  /** Removes the folder of a domain that has been taken down; for the process that holds its lock. */
  remove(domain: RegisteredDomain): void {
    this.#removeFolder(domain.domid);
    unlock(domain.lock);
  }

  /**
   * Ends a domain whose kemari-dm does not answer: kills it and its QEMU, then removes what is left.
   *
   * Errors: `KEMARI_PROCESS_STUCK` when a process does not go, `KEMARI_NO_PROCESS` when none is recorded.
   */
  async kill(domain: LiveDomain): Promise<void> {
    const { deviceModel } = readRecord(domain.paths);
    if (deviceModel === undefined) {
      throw new KemariError(
        'KEMARI_NO_PROCESS',
        `domain "${domain.name}" is locked, but its kemari-dm has not started; end the "kemari create" that makes it`,
      );
    }
    killProcess(deviceModel);
    // Its lock is free a little before the process is gone: files are closed first.
    const isGone = (): boolean | Promise<boolean> => !isRunning(deviceModel) && this.removeIfStale(domain.domid);
    const gone = await waitUntil(isGone, { timeoutMs: KILL_TIMEOUT_MS });
    if (!gone) throw stuck(`kemari-dm of domain "${domain.name}"`, deviceModel.pid);
  }

  /** Takes the folder out of sight at once, so that nobody ever meets a part of one. The caller holds its lock. */
  #removeFolder(domid: number): void {
    const gone = join(this.host.domains, `.gone-${domid}`);
    rmSync(gone, { recursive: true, force: true });
    try {
      renameSync(domainPaths(this.host, domid).directory, gone);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    rmSync(gone, { recursive: true, force: true });
  }

  #folders(): number[] {
    return readdirSync(this.host.domains)
      .filter((name) => /^[1-9]\d*$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  #freeDomid(wanted?: number): number {
    const taken = new Set(this.#folders());
    const first = wanted ?? readNextDomid(this.host.nextDomid);
    for (let tried = 0; tried < MAX_DOMID; tried++) {
      const domid = ((first - 1 + tried) % MAX_DOMID) + 1;
      if (!taken.has(domid)) return domid;
    }
    throw new KemariError('KEMARI_NO_DOMID', `all ${MAX_DOMID} domids of ${this.host.root} are taken`);
  }
}

/**
 * Makes a folder, mode 0700, and those above it. Node's own `recursive` never returns where the kernel answers ENOENT for
 * the last step (below /proc, for example).
 */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  if (!existsSync(dirname(path))) makeDirectory(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another command made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** A domain whose configuration cannot be read claims nothing that we could compare. */
function readOther({ domid, paths }: LiveDomain): OtherDomain[] {
  try {
    return [{ domid, config: readConfig(paths) }];
  } catch (error) {
    if (error instanceof KemariError && error.code === 'KEMARI_RECORD_UNREADABLE') return [];
    throw error;
  }
}

function readNextDomid(path: string): number {
  try {
    const domid = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(domid) && domid >= 1 && domid <= MAX_DOMID ? domid : 1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 1;
    throw error;
  }
}

/** The record of a domain that may have died while it was written. */
function readRecordIfAny(paths: DomainPaths): DomainRecord | undefined {
  try {
    return readRecord(paths);
  } catch (error) {
    if (error instanceof KemariError && error.code === 'KEMARI_RECORD_UNREADABLE') return undefined;
    throw error;
  }
}

async function endLeftProcesses(paths: DomainPaths): Promise<void> {
  const record = readRecordIfAny(paths);
  if (record?.xenDomid !== undefined) await endLeftDomain(record.name, record.xenDomid);
  const qemu = record?.qemu;
  if (qemu === undefined || !killProcess(qemu)) return;
  const gone = await waitUntil(() => !isRunning(qemu), { timeoutMs: KILL_TIMEOUT_MS });
  if (!gone) throw stuck(`QEMU of a domain whose kemari-dm died`, qemu.pid);
}

function stuck(what: string, pid: number): KemariError {
  return new KemariError(
    'KEMARI_PROCESS_STUCK',
    `${what} (pid ${pid}) is still there ${KILL_TIMEOUT_MS} ms after SIGKILL; see /proc/${pid}/stack for what it waits for`,
  );
}
