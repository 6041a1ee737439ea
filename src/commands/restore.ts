import { closeSync, writeFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { KemariError, messageOf } from '../base/errors.js';
import { faultPoint } from '../base/fault.js';
import { announce } from '../cluster/announce.js';
import type { StandbyOptions } from '../engine/standby-state.js';
import { ControlServer, type ControlHandlers } from '../host/control-server.js';
import { LOCK_FD, REPORT_FD, Startup } from '../host/startup.js';
import type { DomainConfig } from '../model/domain-config.js';
import { linkConnectTimeoutMs } from '../model/protection.js';
import { addon } from '../native/addon.js';
import { keepEvidence } from '../native/evidence.js';
import { armFault } from '../native/fault.js';
import type { LinkReceiver, StandbyMemory, TakenCheckpoint } from '../native/link.js';
import {
  controlHandlers,
  hypervisorOf,
  noteEnd,
  onTermination,
  openHouse,
  type DomainHouse,
  type Termination,
} from './device-model.js';
import type { Domain } from './device-model/domain.js';
import type { MachineRun, StandbyOptions as MachineStandbyOptions } from './device-model/machine-run.js';
import { openDomainLog } from './device-model/domain-log.js';
import { closeStrayFds } from './device-model/stray-fds.js';
import { Ownership } from './ownership.js';
import { checkFiles, checkMachine, checkMemory } from './restore/fit.js';
import { KemaridChannel, type LinkFds } from './restore/kemarid-channel.js';
import { DESCRIPTORS_FD, ORDERS_FD, type StandByOrder } from './restore/orders.js';
import { peerHands } from './restore/peer-hands.js';
import { Standby } from './restore/standby.js';
import { becomeOrdinary, becomeUrgent } from './restore/urgency.js';

export interface RestoreOptions {
  readonly root: string;
  readonly domid: number;
  /** Ends the standby; once the domain runs here, as for any kemari-dm. */
  readonly termination: Termination;
  /** Calls back at every SIGHUP. */
  readonly onHangup: (listener: () => void) => void;
}

/** The kernel, when memory runs out, takes a copy before it takes a guest (proc(5), oom_score_adj). */
const OOM_SCORE_STANDBY = 500;

/**
 * Stands by for a domain of another host: has a machine wait, receives its epochs, and takes over when the engine says so;
 * from then on it is the domain's kemari-dm. Returns the process's exit code.
 */
export async function runRestore(options: RestoreOptions): Promise<number> {
  closeStrayFds([REPORT_FD, LOCK_FD, ORDERS_FD, DESCRIPTORS_FD]);
  const startup = Startup.adopt(options);
  const logger = openDomainLog(startup.config.name, options.domid);
  process.title = `xc_kemari_restore ${startup.config.name}`;
  setOomScore(OOM_SCORE_STANDBY, logger);
  becomeUrgent(logger);
  logger.info({ event: 'start', config: startup.config, pid: process.pid }, 'xc_kemari_restore starts');
  let released = false;
  const release = (): void => {
    if (!released) startup.removeDomain();
    released = true;
  };
  const channel = new KemaridChannel();
  try {
    armFault(process.env);
    keepEvidence(process.env);
    const order = await channel.standByOrder();
    const { failed } = await new Restore(startup, logger, order, options).live(channel, release);
    logger.info({ event: 'end', failed }, 'the domain has ended');
    return failed ? 1 : 0;
  } catch (error) {
    logger.error({ event: 'standby-failed', err: error }, messageOf(error));
    release();
    startup.fail(error);
    return 1;
  } finally {
    channel.close();
  }
}

interface GuestMemory {
  /** The file that outlives the machine, where there is one. */
  readonly ramFd: number | undefined;
  readonly memory: StandbyMemory;
}

class Restore {
  readonly #startup: Startup;
  readonly #logger: Logger;
  readonly #order: StandByOrder;
  readonly #options: RestoreOptions;
  #standby: Standby | undefined;

  constructor(startup: Startup, logger: Logger, order: StandByOrder, options: RestoreOptions) {
    this.#startup = startup;
    this.#logger = logger;
    this.#order = order;
    this.#options = options;
  }

  /** Errors: whatever prevents it from standing by; nothing of the domain is left then. */
  async live(channel: KemaridChannel, release: () => void): Promise<{ readonly failed: boolean }> {
    const { offer, overcommit } = this.#order;
    const { config } = this.#startup;
    this.#startup.progress('comparing disks and boot files');
    // Xen has the guest's memory, and refuses by itself.
    if (!overcommit && config.machine !== 'xen') checkMemory(offer);
    await checkFiles(offer);
    const house = await openHouse(this.#startup, this.#logger, {
      release,
      begins: 'standby',
      onStandbyLost: (reason) => this.#standby?.machineFailed(reason),
    });
    const ramFd = hypervisorOf(config).createRam(config);
    try {
      this.#startup.progress('starting the machine');
      const machine = await house.domain.standBy((run) => run.prepareStandby(this.#standbyOptions(ramFd)));
      checkMachine(offer, await machine.describe());
      return await this.#standBy(house.domain, { ramFd, memory: machine.standbyMemory() }, channel);
    } finally {
      // Of no effect where it has ended already.
      await house.domain.request('destroy').catch(() => undefined);
      await this.#close(house, ramFd);
    }
  }

  async #close(house: DomainHouse, ramFd: number | undefined): Promise<void> {
    await house.close();
    if (ramFd !== undefined) closeSync(ramFd);
  }

  #standbyOptions(ramFd: number | undefined): MachineStandbyOptions {
    const { diskGeometry, blueprint } = this.#order.offer;
    return {
      ramFd,
      geometries: diskGeometry,
      blueprint: blueprint === null ? undefined : Buffer.from(blueprint, 'base64'),
    };
  }

  #prepareAgain(domain: Domain, ramFd: number | undefined): Promise<void> {
    return domain.standByAgain((run, waiting) => {
      // A new one would run an empty guest.
      if (ramFd === undefined && waiting === undefined) {
        const text = 'the machine that waited is gone, and guest memory with it; protect the domain anew';
        throw new KemariError('KEMARI_NO_EPOCH', text);
      }
      return run.prepareStandby({ ...this.#standbyOptions(ramFd), waiting });
    });
  }

  async #standBy(
    domain: Domain,
    { ramFd, memory }: GuestMemory,
    channel: KemaridChannel,
  ): Promise<{ readonly failed: boolean }> {
    const { offer } = this.#order;
    const { config } = this.#startup;
    const ended = new AbortController();
    void domain.ended.then(() => {
      ended.abort();
    });
    const standby = (this.#standby = new Standby({
      ...{ engine: this.#engineOptions(), policy: offer.policy, logger: this.#logger },
      primary: offer.addresses.map(({ host }) => host).join(', '),
      hands: {
        ...peerHands(this.#order),
        prepareMachine: () => this.#prepareAgain(domain, ramFd),
        keepsCopy: () => ramFd !== undefined || domain.holdsCopy,
        takeOver: (checkpoint, onLoaded) =>
          domain.takeOver(async (run) => {
            await this.#load(run, checkpoint, () => this.#standby?.epochAgeMs ?? 0);
            onLoaded();
            faultPoint('takeover.before-resume');
          }, checkpoint.guestPaused),
        announce: () => {
          announce(domain.nics, {
            signal: ended.signal,
            onFailure: (error) => {
              this.#logger.warn({ event: 'announce', err: error }, messageOf(error));
            },
          });
        },
      },
    }));
    this.#options.onHangup(() => {
      standby.sighup();
    });
    const { controlSocket } = this.#startup.domain.paths;
    const server = await ControlServer.listen(controlSocket, switchedHandlers(domain, standby));
    try {
      onTermination(this.#options.termination, this.#logger, () => {
        if (standby.phase === 'running') return domain;
        standby.terminate();
        return undefined;
      });
      this.#startup.ready();
      // An order to end may come before the primary does.
      const fds = await Promise.race([channel.links(), standby.outcome.then(() => undefined)]);
      if (fds === undefined) return { failed: false };
      const link = this.#openLink(standby, memory, fds);
      const outcome = await standby.outcome;
      // What was said last still goes out.
      const closed = link.close();
      if (outcome === 'running') this.#becomeDeviceModel(domain, config);
      await closed;
      return outcome === 'running' ? noteEnd(this.#startup, this.#logger, await domain.ended) : { failed: false };
    } finally {
      await server.close();
    }
  }

  #openLink(standby: Standby, memory: StandbyMemory, fds: LinkFds): LinkReceiver {
    const { offer, key, token } = this.#order;
    const { config } = this.#startup;
    const link = new addon.LinkReceiver({
      ...{
        ...fds,
        ...memory,
        key: key === null ? undefined : Buffer.from(key, 'hex'),
        token: Buffer.from(token, 'hex'),
      },
      deviceCount: config.disks.length + config.vifs.length,
      ...{ leaseMs: offer.leaseMs, takeoverTimeoutMs: offer.takeoverTimeoutMs, onEvent: standby.onLink },
      connectTimeoutMs: linkConnectTimeoutMs(offer),
    });
    standby.attach(link);
    return link;
  }

  /**
   * Beside the loading, and before anything of the guest can be seen: that it goes on here is noted for good. Where that cannot
   * be noted it does not: what this host would say after a restart would be wrong.
   */
  async #load(run: MachineRun, checkpoint: TakenCheckpoint, lostMs: () => number): Promise<void> {
    const { config, generation } = this.#order.offer;
    const ownership = new Ownership(this.#startup.registry.host);
    const loading = run.takeOver({ ...checkpoint, steal: true, lostMs: lostMs() });
    const [loaded, noted] = await Promise.allSettled([loading, ownership.goOnAloneBeside(config, generation + 1)]);
    if (noted.status === 'rejected') throw noted.reason;
    if (loaded.status === 'rejected') {
      this.#note(noted.value);
      throw loaded.reason;
    }
    faultPoint('takeover.loaded');
  }

  #note(write: () => void): void {
    try {
      write();
    } catch (error) {
      // A takeover does not fail for it: the record protects from later mistakes.
      this.#logger.error({ event: 'ownership', err: error }, messageOf(error));
    }
  }

  #engineOptions(): StandbyOptions {
    const { offer, fence } = this.#order;
    return {
      ...{ failover: offer.failover, hasFence: fence !== null, takeoverTimeoutMs: offer.takeoverTimeoutMs },
      ...{ primaryOnSilence: offer.onSilence, purpose: offer.purpose },
    };
  }

  #becomeDeviceModel(domain: Domain, config: DomainConfig): void {
    process.title = `kemari-dm ${config.name}`;
    setOomScore(0, this.#logger);
    const { machinePid } = domain;
    becomeOrdinary(machinePid === undefined ? [process.pid] : [process.pid, machinePid], this.#logger);
    this.#note(() => {
      new Ownership(this.#startup.registry.host).tookOver(config, this.#order.offer.generation + 1);
    });
  }
}

/** What the control socket answers: a standby's answers until the guest runs here, then those of any domain. */
function switchedHandlers(domain: Domain, standby: Standby): ControlHandlers {
  const running = controlHandlers(domain);
  const waiting: ControlHandlers = {
    ...running,
    info: () => ({ ...domain.info(), standby: standby.info() }),
    destroy: async () => {
      await standby.order({ type: 'disarm' });
      await domain.ended;
      return null;
    },
    takeover: ({ primaryIsDead }) => standby.order({ type: primaryIsDead ? 'primary-is-dead' : 'sighup' }),
    disarm: () => standby.order({ type: 'disarm' }),
  };
  const ran: ControlHandlers = {
    ...running,
    info: () => {
      const { takeover } = standby;
      return { ...domain.info(), ...(takeover === undefined ? {} : { takeover }) };
    },
  };
  const now = (): ControlHandlers => (standby.phase === 'running' ? ran : waiting);
  return new Proxy(running, {
    get: (_, verb: keyof ControlHandlers) => now()[verb],
    getOwnPropertyDescriptor: (_, verb) => Object.getOwnPropertyDescriptor(running, verb),
  });
}

function setOomScore(score: number, logger: Logger): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(score));
  } catch (error) {
    logger.debug({ event: 'oom-score', err: error }, messageOf(error));
  }
}
