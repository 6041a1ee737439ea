import { KemariError, asKemariError, messageOf } from '../../base/errors.js';
import { assert } from '../../base/assert.js';
import type { Machine, MachineEvent } from '../../hypervisor/contract.js';
import { timeStopCont } from '../../hypervisor/stop-cont.js';
import {
  domainState,
  startLifecycle,
  startStandbyLifecycle,
  step,
  type Lifecycle,
  type LifecycleEffect,
  type LifecycleInput,
  type RequestVerb,
} from '../../engine/lifecycle.js';
import type { DomainInfo, ProtectionEnd, ProtectionRequest } from '../../host/contract.js';
import { DomainProtection } from './domain-protection.js';
import { ENDS, NOT_THE_MACHINES, reasonOf } from './domain-ends.js';
import { domainInfo } from './domain-info.js';
import type { DomainOptions } from './domain-options.js';
import type { Accel } from '../../model/machine-description.js';
import { LEAVE_TIMEOUT_MS } from './leave.js';
import { MachineRun, type RunEvent } from './machine-run.js';

/**
 * A domain's life: the engine decides (step), this carries out. Decisions are made at once, in the order in which things
 * happen; their effects follow one after another.
 */
export class Domain {
  /** How it ended, once nothing of the machine and its devices is left. */
  readonly ended: Promise<{ readonly failed: boolean }>;
  readonly #options: DomainOptions;
  readonly #protection: DomainProtection;
  #lifecycle: Lifecycle;
  #run: MachineRun;
  #effects: Promise<void> = Promise.resolve();
  /** Fulfilled when no machine is on its way from one run to the next. */
  #preparing: Promise<void> = Promise.resolve();
  #end: (how: { readonly failed: boolean }) => void = () => undefined;
  #version = '';
  #accel: Accel = 'tcg';

  constructor(options: DomainOptions) {
    this.#options = options;
    const { config, begins } = options;
    this.#lifecycle =
      begins === 'standby' ? startStandbyLifecycle(config) : startLifecycle(config, begins === 'paused');
    this.#protection = new DomainProtection(options.protection, options.logger);
    this.#run = this.#newRun();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Starts the machine for the first time. When that fails nothing of it is left. Errors: those of MachineRun.start. */
  async start(): Promise<void> {
    try {
      await this.#startRun();
    } catch (error) {
      this.#feed({ type: 'machine-failed', reason: messageOf(error) });
      await this.ended;
      throw error;
    }
    await this.#input({ type: 'machine-ready' });
  }

  /**
   * The other way to begin: `prepare` has the machine wait for another host's state. When that fails nothing of it is left.
   * Errors: those of `prepare`.
   */
  async standBy(prepare: (run: MachineRun) => Promise<Machine>): Promise<Machine> {
    try {
      const machine = await prepare(this.#run);
      this.#noteMachine(machine);
      return machine;
    } catch (error) {
      this.#feed({ type: 'request', verb: 'destroy' });
      await this.ended;
      throw error;
    }
  }

  /**
   * Another machine waits in the place of one that was lost, or failed to take over: `waiting`, where that one still holds the
   * guest's copy. Errors: those of `prepare`; none waits then.
   */
  standByAgain(prepare: (run: MachineRun, waiting: Machine | undefined) => Promise<Machine>): Promise<void> {
    const again = this.#run.endButCopy().then(async (waiting) => {
      if (this.#lifecycle.state.name !== 'standby') return waiting?.kill();
      this.#run = this.#newRun();
      this.#noteMachine(await prepare(this.#run, waiting));
    });
    this.#preparing = again.catch(() => undefined);
    return again;
  }

  /** Of a standby: the guest's copy is lost with its machine. */
  get holdsCopy(): boolean {
    return this.#run.holdsCopy;
  }

  /**
   * Its end: `load` gives the waiting machine its state, and the guest runs here, unless it is to stay `paused`. Errors: those of
   * `load`; the machine is of no use any more then.
   */
  async takeOver(load: (run: MachineRun) => Promise<void>, paused: boolean): Promise<void> {
    await load(this.#run);
    await this.#input({ type: 'machine-ready', paused });
  }

  /** The NICs of the machine that there is now. */
  get nics(): MachineRun['devices']['nics'] {
    return this.#run.devices.nics;
  }

  /** Errors: `KEMARI_WRONG_STATE`, `KEMARI_DOMAIN_DYING`, and those of the machine. */
  async request(verb: RequestVerb): Promise<null> {
    this.#options.logger.info({ event: 'request', verb }, `asked to ${verb}`);
    this.#refuseWhileStanding(verb);
    await this.#input({ type: 'request', verb });
    if (verb === 'destroy') await this.ended;
    return null;
  }

  /**
   * This process is to end, and not for the guest's sake: a protected guest goes on at its standby, any other is destroyed.
   * Fulfilled when nothing of it is left here. `insisted`: nothing is waited for any more.
   */
  async leave(reason: string, insisted: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const hurry = AbortSignal.any([insisted, AbortSignal.timeout(LEAVE_TIMEOUT_MS)]);
    const goesOn = await this.#protection.leave(reason, hurry);
    logger.warn({ event: 'leave', goesOn }, `${reason}: ${goesOn ? 'the standby goes on' : 'nobody stands by'}`);
    await this.request('destroy');
  }

  /**
   * Protects the domain, or moves it: fulfilled when that has ended. Errors: `KEMARI_WRONG_STATE` for a domain that does
   * not run; those of DomainProtection.protect.
   */
  async protect(request: ProtectionRequest): Promise<ProtectionEnd> {
    const { name } = this.#lifecycle.state;
    this.#options.logger.info({ event: 'request', verb: 'protect', request }, `asked to protect on ${request.host}`);
    if (name !== 'running' && name !== 'paused') {
      throw new KemariError('KEMARI_WRONG_STATE', `the domain is ${name}; only one that runs can be protected`);
    }
    const isPaused = (): boolean => this.#lifecycle.state.name === 'paused';
    const { outcome, text, machineDied } = await this.#protection.protect(request, this.#run, isPaused);
    if (outcome === 'handed-over') this.#feed({ type: 'moved', reason: `the guest runs on ${request.host}` });
    if (machineDied) this.#feed({ type: 'moved', reason: `${request.host} was told to take over` });
    return { outcome, text };
  }

  /** Errors: `KEMARI_NOT_PROTECTED`, and those of DomainProtection. */
  async steerProtection(verb: 'unprotect' | 'switchover' | 'resume-unprotected'): Promise<null> {
    this.#options.logger.info({ event: 'request', verb }, `asked to ${verb}`);
    if (verb === 'unprotect') await this.#protection.unprotect();
    else if (verb === 'switchover') await this.#protection.switchover();
    else await this.#protection.resumeUnprotected();
    return null;
  }

  /** For those who only look. */
  get protection(): Pick<DomainProtection, 'epochs' | 'watch'> {
    return this.#protection;
  }

  /** Fulfilled when the protection that stands now has ended. Errors: `KEMARI_NOT_PROTECTED`. */
  async protectionEnded(): Promise<ProtectionEnd> {
    const { outcome, text } = await this.#protection.over();
    return { outcome, text };
  }

  /** A diagnostic: see hypervisor/stop-cont.ts. Errors: `KEMARI_WRONG_STATE` unless the guest runs; the machine's. */
  timeStopCont(count: number): Promise<readonly number[]> {
    const times = this.#effects.then(() => {
      const { machine } = this.#run;
      const state = domainState(this.#lifecycle);
      if (machine === undefined || state !== 'running' || this.#protection.active) {
        const text = `the domain is ${state}; stop and cont are timed while it runs, unprotected`;
        throw new KemariError('KEMARI_WRONG_STATE', text);
      }
      return timeStopCont(machine, count);
    });
    this.#effects = times.then(
      () => undefined,
      (error: unknown) => {
        this.#effectFailed(error);
      },
    );
    return times;
  }

  /** The pid of the machine's process, to be killed in an emergency. */
  get machinePid(): number | undefined {
    return this.#run.machine?.pid;
  }

  info(): DomainInfo {
    return {
      ...domainInfo(this.#options, this.#run, { version: this.#version, accel: this.#accel }),
      state: domainState(this.#lifecycle),
      protection: this.#protection.info(),
    };
  }

  /** For what nobody waits for: a failure to carry it out becomes an input of its own. */
  #feed(input: LifecycleInput): void {
    this.#input(input).catch(() => undefined);
  }

  /** Lets the engine decide now; fulfilled when what it decided was carried out. */
  #input(input: LifecycleInput): Promise<void> {
    const before = this.#lifecycle.state.name;
    const { lifecycle, effects } = step(this.#lifecycle, input);
    this.#lifecycle = lifecycle;
    const { logger } = this.#options;
    const { name } = lifecycle.state;
    if (name !== before) logger.info({ event: 'state', from: before, to: name, input }, `${before} -> ${name}`);
    const ending = ENDS.has(name) || effects.some((effect) => effect.do === 'relaunch');
    const told = ending && this.#protection.active ? this.#protection.domainEnds(reasonOf(effects)) : undefined;
    // What is on its way must not keep the end waiting; a standby is told before the machine goes.
    if (name === 'dying' && before !== 'dying') void this.#endRunAfter(told);
    const done = this.#effects.then(async () => {
      await told;
      for (const effect of effects) await this.#carryOut(effect);
    });
    this.#effects = done.catch((error: unknown) => {
      this.#effectFailed(error);
    });
    return done;
  }

  async #carryOut(effect: LifecycleEffect): Promise<void> {
    const { logger } = this.#options;
    switch (effect.do) {
      case 'log':
        logger[effect.level]({ event: 'lifecycle' }, effect.text);
        return;
      case 'refuse':
        throw new KemariError(effect.code, effect.text);
      case 'pause':
        return this.#protection.knows ? this.#protection.steer('paused') : this.#run.machine?.pause();
      case 'resume':
        return this.#protection.knows ? this.#protection.steer('running') : this.#run.machine?.resume();
      case 'request-power-off':
        return this.#run.machine?.requestPowerOff();
      case 'reset':
        // No capture lets the guest go on before it stands at its first instruction.
        if (this.#protection.knows) await this.#protection.steer('paused', true);
        await this.#run.machine?.reset();
        this.#feed({ type: 'machine-ready' });
        return;
      case 'relaunch':
        return this.#relaunch();
      case 'end-machine':
        return this.#run.end();
      case 'standby-lost':
        this.#options.onStandbyLost(effect.reason);
        return;
      case 'take-down':
        return this.#takeDown(effect.failed);
    }
  }

  async #endRunAfter(told: Promise<void> | undefined): Promise<void> {
    if (told !== undefined) await told;
    await this.#run.end().catch(() => undefined);
  }

  /** While the hypervisor waits for the standby it hears nothing else, and would count as lost. */
  #refuseWhileStanding(verb: RequestVerb): void {
    if (verb !== 'shutdown' && verb !== 'reboot') return;
    if (!this.#protection.standing) return;
    const text = 'the guest stands still until the standby answers; try again, or "kemari resume --unprotected"';
    throw new KemariError('KEMARI_WRONG_STATE', `cannot ${verb}: ${text}`);
  }

  async #takeDown(failed: boolean): Promise<void> {
    try {
      await this.#run.end();
      await this.#preparing;
    } catch (error) {
      this.#options.logger.error({ event: 'take-down-failed', err: error }, messageOf(error));
      failed = true;
    }
    this.#options.release();
    this.#end({ failed });
  }

  async #relaunch(): Promise<void> {
    await this.#run.end();
    if (this.#lifecycle.state.name === 'dying') return;
    this.#run = this.#newRun();
    try {
      await this.#startRun();
      this.#feed({ type: 'machine-ready' });
    } catch (error) {
      this.#feed({ type: 'machine-failed', reason: messageOf(error) });
    }
  }

  /** An order that the machine did not carry out leaves us not knowing what it does: it counts as lost. */
  #effectFailed(error: unknown): void {
    if (error instanceof KemariError && NOT_THE_MACHINES.has(error.code)) return;
    const { code, message } = asKemariError(error);
    this.#options.logger.error({ event: 'order-failed', err: error }, message);
    this.#feed({ type: 'device-failed', reason: `${code}: ${message}`, nowMs: performance.now() });
  }

  #newRun(): MachineRun {
    const { domid, config, hypervisor, cacheDirectory, privateDirectory, attachConsole, logger } = this.#options;
    const run: MachineRun = new MachineRun({
      ...{ domid, config, hypervisor, cacheDirectory, privateDirectory, attachConsole },
      onProcess: (pid) => {
        this.#options.onProcess(pid);
        logger.info({ event: 'machine-process', pid }, 'the machine has a process');
      },
      onXenDomain: (xenDomid) => {
        this.#options.onXenDomain(xenDomid);
        logger.info({ event: 'machine-domain', xenDomid }, `the machine is domain ${xenDomid} of Xen`);
      },
      onOutput: (line) => {
        logger.warn({ source: 'hypervisor' }, line);
      },
      onEvent: (event) => {
        assert(run === this.#run, 'a run that was ended says nothing');
        this.#runEvent(event);
      },
    });
    return run;
  }

  async #startRun(): Promise<void> {
    this.#noteMachine(await this.#run.start());
  }

  #noteMachine({ version, accel, pid }: Machine): void {
    const { logger } = this.#options;
    this.#version = version;
    this.#accel = accel;
    logger.info(
      { event: 'machine-started', pid, version, accel },
      `${accel === 'xen' ? 'Xen' : 'QEMU'} ${version} has the machine (${accel})`,
    );
  }

  #runEvent(event: RunEvent): void {
    const { logger } = this.#options;
    const nowMs = performance.now();
    switch (event.type) {
      case 'machine':
        this.#machineEvent(event.event, nowMs);
        return;
      case 'device-failed':
        this.#lost('device-failed', event.reason, nowMs);
        return;
      case 'guest-clock':
        logger[event.level]({ event: event.type }, event.text);
        return;
      case 'device-warning':
        logger.warn({ event: event.type, device: event.device, code: event.code }, event.text);
    }
  }

  /** A machine whose standby can go on is not started again here. */
  #lost(type: 'exited' | 'device-failed', reason: string, nowMs: number): void {
    if (!this.#protection.guards || this.#lifecycle.state.name === 'dying') {
      this.#feed({ type, reason, nowMs });
      return;
    }
    // The end of protection follows, and with it the domain's here.
    this.#protection.machineDied(reason).catch((error: unknown) => {
      this.#effectFailed(error);
    });
  }

  #machineEvent(event: MachineEvent, nowMs: number): void {
    // Stopping and resuming is no news: our own orders are logged, and a cut does it hundreds of times a second.
    const level = event.type === 'stopped' || event.type === 'resumed' ? 'trace' : 'info';
    this.#options.logger[level]({ event: `machine-${event.type}`, ...event }, `the machine: ${event.type}`);
    switch (event.type) {
      case 'stopped':
      case 'resumed':
      case 'reset':
        return;
      case 'powered-off':
      case 'rebooted':
      case 'panicked':
        this.#feed({ type: event.type, nowMs });
        return;
      case 'exited': {
        const how = event.signal === null ? `exit code ${event.code ?? 'unknown'}` : `signal ${event.signal}`;
        this.#lost('exited', `the machine's process ended by itself: ${how}`, nowMs);
      }
    }
  }
}
