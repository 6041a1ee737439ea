import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { KemariError, messageOf } from '../base/errors.js';
import type { ProtectionEnd } from '../host/contract.js';
import { ControlServer, type ControlHandlers, type Watcher } from '../host/control-server.js';
import { readRecord } from '../host/domain-record.js';
import { LOCK_FD, REPORT_FD, Startup } from '../host/startup.js';
import type { Hypervisor } from '../hypervisor/contract.js';
import { Qemu } from '../hypervisor/qemu/qemu.js';
import { Xen } from '../hypervisor/xen/xen.js';
import type { DomainConfig } from '../model/domain-config.js';
import { keepEvidence } from '../native/evidence.js';
import { armFault } from '../native/fault.js';
import { ConsoleHub } from './device-model/console-hub.js';
import { Domain } from './device-model/domain.js';
import type { DomainOptions } from './device-model/domain-options.js';
import { ConsoleLog, openDomainLog } from './device-model/domain-log.js';
import { StandbyFinder } from './device-model/standby-finder.js';
import { closeStrayFds } from './device-model/stray-fds.js';
import { Ownership } from './ownership.js';

export interface DeviceModelOptions {
  readonly root: string;
  readonly domid: number;
  /** Leave the guest at its first instruction. */
  readonly paused: boolean;
  /** Ends this process: the domain goes on at its standby, or is destroyed. */
  readonly termination: Termination;
}

/** Orders from outside to end; their reasons say in words why. */
export interface Termination {
  /** As soon as nothing is lost by it. */
  readonly asked: AbortSignal;
  /** Now. */
  readonly insisted: AbortSignal;
}

/**
 * Lives the life of one domain: starts its machine, serves its devices, console and control socket, until it ends.
 * Returns the process's exit code. Whatever goes wrong before the guest runs is reported to whoever launched us.
 */
export async function runDeviceModel(options: DeviceModelOptions): Promise<number> {
  closeStrayFds([REPORT_FD, LOCK_FD]);
  const startup = Startup.adopt(options);
  const logger = openDomainLog(startup.config.name, options.domid);
  process.title = `kemari-dm ${startup.config.name}`;
  logger.info({ event: 'start', config: startup.config, pid: process.pid }, 'kemari-dm starts');
  let released = false;
  const release = (): void => {
    if (!released) startup.removeDomain();
    released = true;
  };
  try {
    armFault(process.env);
    keepEvidence(process.env);
    const { failed } = await live(startup, logger, options, release);
    logger.info({ event: 'end', failed }, 'the domain has ended');
    return failed ? 1 : 0;
  } catch (error) {
    logger.error({ event: 'start-failed', err: error }, 'the domain could not be started');
    release();
    startup.fail(error);
    return 1;
  }
}

async function live(
  startup: Startup,
  logger: Logger,
  options: DeviceModelOptions,
  release: () => void,
): Promise<{ readonly failed: boolean }> {
  const house = await openHouse(startup, logger, {
    release,
    begins: options.paused ? 'paused' : 'running',
    // It never stands by.
    onStandbyLost: () => undefined,
  });
  const { domain } = house;
  const server = await ControlServer.listen(startup.domain.paths.controlSocket, controlHandlers(domain));
  onTermination(options.termination, logger, () => domain);
  try {
    startup.progress('starting the machine');
    await domain.start();
    startup.ready();
    return noteEnd(startup, logger, await domain.ended);
  } finally {
    await house.close();
    await server.close();
  }
}

/** Has the domain leave when it is asked to end; with `domain` undefined then, somebody else sees to it. */
export function onTermination(
  { asked, insisted }: Termination,
  logger: Logger,
  domain: () => Domain | undefined,
): void {
  const leave = (): void => {
    const reason = messageOf(asked.reason);
    logger.warn({ event: 'terminate' }, reason);
    domain()
      ?.leave(reason, insisted)
      .catch((error: unknown) => {
        logger.error({ event: 'terminate', err: error }, messageOf(error));
      });
  };
  asked.addEventListener('abort', leave);
  if (asked.aborted) leave();
}

/** What is remembered of a domain across reboots is forgotten when it ended in order. */
export function noteEnd(startup: Startup, logger: Logger, end: { readonly failed: boolean }): typeof end {
  try {
    if (!end.failed) new Ownership(startup.registry.host).ended(startup.config);
  } catch (error) {
    logger.error({ event: 'ownership', err: error }, messageOf(error));
  }
  return end;
}

/** A domain with its console, as its process has it. */
export interface DomainHouse {
  readonly domain: Domain;
  /** Once the domain has ended. */
  close(): Promise<void>;
}

/** Makes the domain of a registered folder, and its console's socket; nothing runs yet. */
export async function openHouse(
  startup: Startup,
  logger: Logger,
  how: Pick<DomainOptions, 'release' | 'begins' | 'onStandbyLost'>,
): Promise<DomainHouse> {
  const { paths } = startup.domain;
  const { createdAtMs } = readRecord(paths);
  const consoleLog = new ConsoleLog(logger, () => performance.now());
  const hub = await ConsoleHub.listen(paths.consoleSocket, (bytes) => {
    consoleLog.write(bytes);
  });
  const domain = new Domain({
    ...{ domid: startup.domain.domid, config: startup.config, createdAtMs },
    ...{ cacheDirectory: startup.registry.host.root, privateDirectory: paths.directory },
    ...{ logger, ...how, hypervisor: hypervisorOf(startup.config) },
    protection: new StandbyFinder({ host: startup.registry.host, config: startup.config, createdAtMs }),
    onProcess: (pid) => {
      startup.recordQemu(pid);
    },
    onXenDomain: (domid) => {
      startup.recordXenDomain(domid);
    },
    attachConsole: (outletFd) => {
      hub.attach(outletFd);
    },
  });
  const close = async (): Promise<void> => {
    consoleLog.flush();
    await hub.close();
  };
  return { domain, close };
}

/** What runs, or is to run, such a domain. */
export function hypervisorOf({ machine }: DomainConfig): Hypervisor {
  return machine === 'xen' ? new Xen() : new Qemu(process.env);
}

async function watched(domain: Domain, watcher: Watcher, run: () => Promise<ProtectionEnd>): Promise<ProtectionEnd> {
  const unwatch = domain.protection.watch((event) => {
    watcher.emit(event);
  });
  watcher.signal.addEventListener('abort', unwatch);
  try {
    return await run();
  } finally {
    unwatch();
  }
}

/** What the control socket of a domain that runs here answers. */
export function controlHandlers(domain: Domain): ControlHandlers {
  return {
    info: () => domain.info(),
    pause: () => domain.request('pause'),
    unpause: () => domain.request('unpause'),
    shutdown: () => domain.request('shutdown'),
    reboot: () => domain.request('reboot'),
    destroy: () => domain.request('destroy'),
    takeover: noStandby,
    disarm: noStandby,
    protect: ({ request }, watcher) => watched(domain, watcher, () => domain.protect(request)),
    'protection-events': (_, watcher) => watched(domain, watcher, () => domain.protectionEnded()),
    unprotect: () => domain.steerProtection('unprotect'),
    switchover: () => domain.steerProtection('switchover'),
    'resume-unprotected': () => domain.steerProtection('resume-unprotected'),
    trace: () => domain.protection.epochs(),
    'bench-stop-cont': ({ count }) => domain.timeStopCont(count),
  };
}

function noStandby(): never {
  throw new KemariError(
    'KEMARI_NOT_STANDBY',
    'the guest runs on this host: there is nothing to take over or to disarm',
  );
}
