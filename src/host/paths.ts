import { join, resolve } from 'node:path';
import { KemariError } from '../base/errors.js';

/** Where a host's state lives when neither --root nor KEMARI_ROOT says otherwise. */
export const DEFAULT_ROOT = '/run/kemari';

/** Where a host with the default root logs; another root has its own `log` folder, so that hosts stay apart. */
const DEFAULT_LOG_DIRECTORY = '/var/log/kemari';

/** Where such a host keeps what must outlive a reboot; another root has its own `state` folder. */
const DEFAULT_STATE_DIRECTORY = '/var/lib/kemari';

/** `sun_path` has 108 bytes, the last one zero (unix(7)). */
export const SOCKET_PATH_LIMIT_BYTES = 107;

/** The files of one host: everything kemari keeps there, mode 0700. */
export interface HostPaths {
  readonly root: string;
  /** One folder a domain, named by its domid. */
  readonly domains: string;
  /** Whoever changes the set of domains holds this file's lock. */
  readonly lock: string;
  /** The domid that the next domain gets, in decimal. */
  readonly nextDomid: string;
  readonly logDirectory: string;
  /** What must outlive a reboot: who this host is, and which domains it owns. */
  readonly stateDirectory: string;
  /** Locked by the host's kemarid while it runs; holds where it listens (KemaridRecord), as JSON. */
  readonly kemarid: string;
}

/** The files of one domain. */
export interface DomainPaths {
  readonly directory: string;
  /** Locked for as long as the domain lives; free means that its kemari-dm is gone. */
  readonly lock: string;
  /** The DomainConfig, as JSON. */
  readonly config: string;
  /** Which processes belong to the domain (DomainRecord), as JSON. */
  readonly record: string;
  /** JSON lines: ControlRequest and its reply. */
  readonly controlSocket: string;
  /** Raw bytes both ways; recent output is replayed to whoever connects. */
  readonly consoleSocket: string;
}

export function hostPaths(root: string): HostPaths {
  const absolute = resolve(root);
  return {
    root: absolute,
    domains: join(absolute, 'domains'),
    lock: join(absolute, 'lock'),
    nextDomid: join(absolute, 'next-domid'),
    logDirectory: absolute === DEFAULT_ROOT ? DEFAULT_LOG_DIRECTORY : join(absolute, 'log'),
    stateDirectory: absolute === DEFAULT_ROOT ? DEFAULT_STATE_DIRECTORY : join(absolute, 'state'),
    kemarid: join(absolute, 'kemarid'),
  };
}

/**
 * Errors: `KEMARI_ROOT_TOO_LONG` when a socket in the domain's folder could not be bound because its path is too long.
 */
export function domainPaths(host: HostPaths, domid: number): DomainPaths {
  const directory = join(host.domains, String(domid));
  const consoleSocket = join(directory, 'console.sock');
  const found = Buffer.byteLength(consoleSocket);
  if (found > SOCKET_PATH_LIMIT_BYTES) {
    const allowed = SOCKET_PATH_LIMIT_BYTES - (found - Buffer.byteLength(host.root));
    throw new KemariError(
      'KEMARI_ROOT_TOO_LONG',
      `root directory ${host.root} has ${Buffer.byteLength(host.root)} bytes; at most ${allowed} leave room for the ` +
        `path of a Unix socket (${SOCKET_PATH_LIMIT_BYTES} bytes): choose a shorter --root`,
    );
  }
  return {
    directory,
    lock: join(directory, 'lock'),
    config: join(directory, 'config.json'),
    record: join(directory, 'record.json'),
    controlSocket: join(directory, 'control.sock'),
    consoleSocket,
  };
}

/** The log of a domain: its kemari-dm and QEMU write there, and it outlives the domain. */
export function logPath(host: HostPaths, name: string): string {
  return join(host.logDirectory, `${name}.log`);
}
