import { closeSync, writeSync } from 'node:fs';
import type { DomainConfig } from '../model/domain-config.js';
import { errorToWire, type WireError } from '../base/errors.js';
import { assert } from '../base/assert.js';
import { readConfig, readRecord, writeRecord } from './domain-record.js';
import { identifyProcess } from './process-identity.js';
import { Registry, type RegisteredDomain } from './registry.js';
import { domainPaths } from './paths.js';

/** File descriptors that a kemari-dm inherits: the pipe it reports on, and its domain's lock. */
export const REPORT_FD = 3;
export const LOCK_FD = 4;

/** Descriptors that only some programs inherit follow. */
export const FIRST_EXTRA_FD = 5;

/** What a starting kemari-dm says to `kemari create`, one JSON object a line: any number of `progress`, then one of the others. */
export type StartupLine = { readonly progress: string } | { readonly ready: true } | { readonly error: WireError };

/**
 * A starting kemari-dm's side of its launch:
 *
 *     const startup = Startup.adopt({ root, domid });
 *     try { startup.progress('starting QEMU'); startup.recordQemu(pid); ...; startup.ready(); }
 *     catch (error) { startup.fail(error); process.exitCode = 1; }
 *
 * and at its end `startup.removeDomain()`, when nothing of the domain runs any more.
 */
export class Startup {
  readonly registry: Registry;
  readonly domain: RegisteredDomain;
  readonly config: DomainConfig;
  #reporting = true;

  private constructor(registry: Registry, domain: RegisteredDomain, config: DomainConfig) {
    this.registry = registry;
    this.domain = domain;
    this.config = config;
  }

  /** Takes over the domain's lock (LOCK_FD) and records this process as its kemari-dm. Errors: `KEMARI_RECORD_UNREADABLE`. */
  static adopt(options: { readonly root: string; readonly domid: number }): Startup {
    const registry = new Registry(options.root);
    const paths = domainPaths(registry.host, options.domid);
    const record = readRecord(paths);
    const deviceModel = identifyProcess(process.pid);
    assert(deviceModel !== undefined, 'a process sees itself in /proc');
    writeRecord(paths, { ...record, deviceModel });
    const domain = { domid: options.domid, name: record.name, paths, lock: { fd: LOCK_FD } };
    return new Startup(registry, domain, readConfig(paths));
  }

  /** Notes QEMU's process, at once after it was started, so that it is ended even if this process is killed. */
  recordQemu(pid: number): void {
    const qemu = identifyProcess(pid);
    if (qemu === undefined) return;
    writeRecord(this.domain.paths, { ...readRecord(this.domain.paths), qemu });
  }

  /** The same for a domain of this host's Xen. */
  recordXenDomain(xenDomid: number): void {
    writeRecord(this.domain.paths, { ...readRecord(this.domain.paths), xenDomid });
  }

  /** Says what is being done, in words for the user who waits: "starting QEMU 7.2". */
  progress(text: string): void {
    this.#say({ progress: text });
  }

  /** The guest runs (or is paused as asked) and the control socket answers. */
  ready(): void {
    this.#say({ ready: true });
    this.#end();
  }

  /** The domain could not be started. Everything of it is to be taken down before this is said. */
  fail(error: unknown): void {
    this.#say({ error: errorToWire(error) });
    this.#end();
  }

  /** Removes the domain from the registry and frees its lock; the last thing a kemari-dm does. */
  removeDomain(): void {
    this.registry.remove(this.domain);
  }

  #say(line: StartupLine): void {
    if (!this.#reporting) return;
    try {
      writeSync(REPORT_FD, `${JSON.stringify(line)}\n`);
    } catch (error) {
      // `kemari create` was killed meanwhile: the domain goes on, there is nobody to tell.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    }
  }

  #end(): void {
    if (!this.#reporting) return;
    this.#reporting = false;
    closeSync(REPORT_FD);
  }
}
