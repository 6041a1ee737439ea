import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { KemariError, messageOf } from '../../base/errors.js';
import type { PeerFinding } from '../../cluster/contract.js';
import type { PrimaryState } from '../../engine/primary-state.js';
import type { ProtectionEvent, ProtectionInfo, ProtectionRequest } from '../../host/contract.js';
import type { OutputGate } from '../../native/addon.js';
import type { Capture } from '../../native/capture.js';
import type { LinkSender, SenderEvent } from '../../native/link.js';
import { leave } from './leave.js';
import type { MachineRun } from './machine-run.js';
import type { CopyProgress } from './memory-copy.js';
import type { EpochRecord } from '../../host/epoch-record.js';
import { Protection } from './protection.js';
import type { ProtectionOutcome } from './protection-parts.js';
import { protectionInfo } from './protection-info.js';

/** A standby that has accepted the domain. */
export interface FoundStandby {
  /** Its host's name. */
  readonly name: string;
  readonly encrypted: boolean;
  openLink(onEvent: (event: SenderEvent) => void): LinkSender;
  /** Never rejected. */
  askPeer(): Promise<PeerFinding>;
  /** The guest is about to go on here although the standby may have a part in it. Errors: `KEMARI_OWNERSHIP_WRITE`. */
  goesOnAlone(): void;
  /** Protection is over: whatever was noted about it is brought up to date. */
  forget(outcome: ProtectionOutcome): Promise<void>;
}

/** What protection needs of the world outside of the domain; played in tests. */
export interface ProtectionWorld {
  /** Errors: the handshake's. */
  findStandby(
    request: ProtectionRequest,
    run: MachineRun,
    onProgress: (text: string) => void,
    signal: AbortSignal,
  ): Promise<FoundStandby>;
  openCapture(run: MachineRun, link: LinkSender): Capture;
  machineRuns(pid: number | undefined): boolean;
}

/** How often those who watch are shown the counters. */
const COUNTERS_INTERVAL_MS = 1_000;

/**
 * How long the end of a domain waits for the standby's word; then it is left to find out by itself. Whoever ends protection
 * is told after so long that the word has not come.
 */
const GOODBYE_TIMEOUT_MS = 10_000;

/** A standby that has acknowledged nothing for so long is complained of, once: the guest's output waits for it. */
const LAG_WARNING_MS = 10_000;

/** The part of a domain that finds a standby for it and keeps, or ends, its protection: one at a time. */
export class DomainProtection {
  readonly #world: ProtectionWorld;
  readonly #logger: Logger;
  readonly #watchers = new Set<(event: ProtectionEvent) => void>();
  #current: Current | undefined;
  #end: Promise<ProtectionOutcome> | undefined;

  constructor(world: ProtectionWorld, logger: Logger) {
    this.#world = world;
    this.#logger = logger;
  }

  /** A protection is being started, stands or ends. */
  get active(): boolean {
    return this.#current !== undefined;
  }

  /** The standby may have the guest's state: what becomes of the machine here is told to it first. */
  get guards(): boolean {
    const phase = this.#current?.protection?.state.phase;
    return phase === 'protected' || phase === 'silent' || phase === 'handing-over' || phase === 'disarming';
  }

  /** The guest is to be paused, and let go on, through it. */
  get knows(): boolean {
    return this.guards || this.#current?.protection?.state.phase === 'copying';
  }

  /** The guest, and its hypervisor with it, waits for the standby. */
  get standing(): boolean {
    return this.#current?.protection?.standing ?? false;
  }

  info(): ProtectionInfo | undefined {
    const current = this.#current;
    return current === undefined ? undefined : protectionInfo(current, performance.now());
  }

  /** The last epochs that were released. Errors: `KEMARI_NOT_PROTECTED`. */
  epochs(): readonly EpochRecord[] {
    const protection = this.#current?.protection;
    if (protection === undefined) throw notProtected('trace');
    return protection.epochs.trace.read();
  }

  /** Calls `watcher` with what happens from now on; returns how to end that. */
  watch(watcher: (event: ProtectionEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Protects a machine, whether it runs or is paused; fulfilled when the protection has ended.
   *
   * Errors: `KEMARI_ALREADY_PROTECTED`; the handshake's and the link's: nothing has happened then.
   */
  protect(request: ProtectionRequest, run: MachineRun, isPaused: () => boolean): Promise<ProtectionOutcome> {
    const end = this.#protect(request, run, isPaused);
    if (this.#current?.request === request) this.#end = end;
    return end;
  }

  /** Fulfilled when the protection that stands now has ended. Errors: `KEMARI_NOT_PROTECTED`, and those of `protect`. */
  over(): Promise<ProtectionOutcome> {
    if (this.#current === undefined || this.#end === undefined) throw notProtected('watch');
    return this.#end;
  }

  async #protect(request: ProtectionRequest, run: MachineRun, isPaused: () => boolean): Promise<ProtectionOutcome> {
    const { machine } = run;
    if (this.#current !== undefined || machine === undefined) {
      const found = this.#current === undefined ? 'has no machine' : `is protected on ${this.#current.request.host}`;
      throw new KemariError('KEMARI_ALREADY_PROTECTED', `the domain ${found} already; "kemari unprotect" ends that`);
    }
    const abort = new AbortController();
    const current: Current = { request, abort, protection: undefined, standby: undefined, gate: run.devices.gate };
    this.#current = current;
    const counters = setInterval(() => {
      const info = this.info();
      if (info !== undefined) this.#emit({ type: 'counters', info });
      this.#watchLag(current);
    }, COUNTERS_INTERVAL_MS);
    try {
      const end = await this.#live(current, run, isPaused);
      this.#logger.info({ event: 'protection-ended', ...end }, `protection has ended: ${end.text}`);
      return end;
    } finally {
      clearInterval(counters);
      this.#current = undefined;
      current.onOver?.();
    }
  }

  async #live(current: Current, run: MachineRun, isPaused: () => boolean): Promise<ProtectionOutcome> {
    const { request, abort } = current;
    const onProgress = (text: string): void => {
      this.#emit({ type: 'connecting', text });
    };
    onProgress(`asking ${request.host} to stand by`);
    const standby = await this.#world.findStandby(request, run, onProgress, abort.signal);
    current.standby = standby;
    let outcome = NEVER_BEGAN;
    try {
      const { machine } = run;
      if (machine === undefined || isCalledOff(abort)) throw calledOff();
      const protection = new Protection({
        ...{ options: request.options, paused: isPaused(), gate: run.devices.gate, machine, logger: this.#logger },
        disks: run.devices.disks(),
        openLink: (onEvent) => standby.openLink(onEvent),
        openCapture: (link) => this.#world.openCapture(run, link),
        askPeer: () => standby.askPeer(),
        goesOnAlone: () => {
          standby.goesOnAlone();
        },
        endMachine: async () => {
          await run.end();
          return run.devices.writesAnswered;
        },
        machineRuns: () => this.#world.machineRuns(machine.pid),
        onState: (state) => {
          this.#stateChanged(current, state);
        },
        onCopying: (progress) => {
          current.copying = progress;
          this.#emit({ type: 'copying', ...progress });
        },
        onLog: (level, text) => {
          this.#emit({ type: 'log', level, text });
        },
      });
      await protection.start();
      current.protection = protection;
      if (isCalledOff(abort)) protection.input({ type: 'operator', verb: 'unprotect' });
      outcome = await protection.ended;
      return outcome;
    } finally {
      await standby.forget(outcome).catch((error: unknown) => {
        this.#logger.error({ event: 'forget-failed', err: error }, messageOf(error));
      });
    }
  }

  /**
   * Ends protection: fulfilled when the domain runs unprotected. Errors: `KEMARI_NOT_PROTECTED`, the engine's refusals,
   * `KEMARI_HANDED_OVER` when the standby has taken the guest instead, `KEMARI_PEER_SILENT` when it does not say that it
   * forgot the domain; protection then ends as soon as it does.
   */
  async unprotect(): Promise<void> {
    const { protection, abort } = this.#need('unprotect');
    if (protection === undefined) {
      abort.abort(calledOff());
      return;
    }
    protection.input({ type: 'operator', verb: 'unprotect' });
    let timer: NodeJS.Timeout | undefined;
    const unheard = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(standbyUnheard());
      }, GOODBYE_TIMEOUT_MS);
    });
    try {
      await Promise.race([this.#endsAs(protection, 'unprotected'), unheard]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends protection without the standby. Errors as for `unprotect`. */
  async resumeUnprotected(): Promise<void> {
    const { protection } = this.#need('resume');
    if (protection === undefined) throw notProtected('resume');
    protection.input({ type: 'operator', verb: 'resume-unprotected' });
    await this.#endsAs(protection, 'unprotected');
  }

  /** Hands the guest over: fulfilled when it runs there. Errors as for `unprotect`; `KEMARI_SWITCHOVER_FAILED`. */
  async switchover(): Promise<void> {
    const { protection } = this.#need('switch over');
    if (protection === undefined) throw notProtected('switch over');
    protection.input({ type: 'operator', verb: 'switchover' });
    const { phase } = await protection.until((state) => state.phase !== 'handing-over' || state.handover === 'unknown');
    if (phase !== 'handed-over') throw switchoverFailed(protection.lastText);
    await protection.ended;
  }

  /** Pauses the guest or lets it go on, so that protection knows. Errors: the engine's refusals. */
  async steer(wanted: 'paused' | 'running', forReset = false): Promise<void> {
    await this.#current?.protection?.steer(wanted, forReset);
  }

  /** The guest ended or is to: the standby is told, and whatever may still leave does. Fulfilled when protection is over. */
  async domainEnds(reason: string): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    const over = new Promise<void>((resolve) => (current.onOver = resolve));
    const { protection, abort } = current;
    abort.abort(calledOff());
    protection?.input({ type: 'domain-ended', reason });
    const timer = setTimeout(() => {
      protection?.input({ type: 'link-lost', reason: `no answer to goodbye within ${GOODBYE_TIMEOUT_MS} ms` });
    }, GOODBYE_TIMEOUT_MS);
    await over;
    clearTimeout(timer);
  }

  /** The machine died or is of no use any more: the standby is to take over. Fulfilled when it was told. */
  async machineDied(reason: string): Promise<void> {
    const protection = this.#current?.protection;
    if (protection === undefined) return;
    protection.input({ type: 'machine-died', reason });
    await protection.ended;
  }

  /**
   * This process is to end: whoever stands by goes on with the guest, if that can be had. Fulfilled with whether it does, or was
   * told to, once protection is over; with false as soon as the guest is known to be this host's alone. See leave().
   */
  async leave(reason: string, hurry: AbortSignal): Promise<boolean> {
    const protection = this.#current?.protection;
    if (protection === undefined || !(await leave(protection, reason, hurry))) return false;
    await this.#end;
    return true;
  }

  #watchLag(current: Current): void {
    const { protection } = current;
    if (protection === undefined) return;
    const lagMs = protection.epochs.clock.lagMs(performance.now());
    if (lagMs < LAG_WARNING_MS) {
      current.lagged = false;
    } else if (current.lagged !== true && protection.state.phase === 'protected') {
      current.lagged = true;
      protection.complain(`the standby has acknowledged nothing for ${Math.floor(lagMs / 1000)} s; ${LAG_ADVICE}`);
    }
  }

  #stateChanged(current: Current, state: PrimaryState): void {
    if (state.phase === 'protected') current.sinceMs ??= Date.now();
    if (state.phase !== 'copying') current.copying = undefined;
    const info = this.info();
    if (info !== undefined) this.#emit({ type: 'state', state: info.state });
  }

  #need(verb: string): Current {
    if (this.#current === undefined) throw notProtected(verb);
    return this.#current;
  }

  async #endsAs(protection: Protection, wanted: ProtectionOutcome['outcome']): Promise<void> {
    const { outcome, text } = await protection.ended;
    if (outcome !== wanted) throw new KemariError('KEMARI_HANDED_OVER', `the domain is ${outcome}: ${text}`);
  }

  #emit(event: EventBody): void {
    for (const watcher of this.#watchers) watcher({ atMs: Date.now(), ...event });
  }
}

const NEVER_BEGAN: ProtectionOutcome = {
  ...{ outcome: 'unprotected', text: 'protection did not begin' },
  ...{ standbyForgot: true, machineDied: false },
};

/** A protection from the request for it to its end. */
export interface Current {
  readonly request: ProtectionRequest;
  readonly abort: AbortController;
  readonly gate: OutputGate;
  standby: FoundStandby | undefined;
  /** Undefined while the standby is being found. */
  protection: Protection | undefined;
  copying?: CopyProgress | undefined;
  /** When the gate was closed, milliseconds since the epoch of Unix time. */
  sinceMs?: number | undefined;
  onOver?: () => void;
  /** It was complained of a standby that does not acknowledge, and it still does not. */
  lagged?: boolean;
}

const LAG_ADVICE =
  'the guest waits for it; the link may be too slow ("kemari top"), "kemari unprotect" ends protection';

function standbyUnheard(): KemariError {
  return new KemariError(
    'KEMARI_PEER_SILENT',
    `the standby has not said within ${GOODBYE_TIMEOUT_MS / 1000} s that it forgot the domain; output is held until it ` +
      'does, or until you answer for it that it does not run the guest: "kemari resume --unprotected"',
  );
}

type EventBody = ProtectionEvent extends infer E ? (E extends unknown ? Omit<E, 'atMs'> : never) : never;

function notProtected(verb: string): KemariError {
  return new KemariError('KEMARI_NOT_PROTECTED', `the domain is not protected: there is nothing to ${verb}`);
}

/** Asked again after each wait: it may have become true meanwhile. */
function isCalledOff(abort: AbortController): boolean {
  return abort.signal.aborted;
}

function calledOff(): KemariError {
  return new KemariError('KEMARI_INTERRUPTED', 'protection was called off before it began');
}

function switchoverFailed(text: string): KemariError {
  return new KemariError('KEMARI_SWITCHOVER_FAILED', `the standby did not take the guest: ${text}`);
}
