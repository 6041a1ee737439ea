import type { DomainConfig } from '../model/domain-config.js';
import type { Accel, MachineDescription } from '../model/machine-description.js';
import type { CaptureSource } from '../native/capture.js';
import type { StandbyMemory } from '../native/link.js';

/** What kemari needs of any hypervisor: to start one machine for a domain, or to find it running, and to drive it. */
export interface Hypervisor {
  /**
   * Memory for a guest that outlives its machine, a file; the caller closes it. undefined where guest memory is the
   * hypervisor's own, and gone with the machine.
   */
  createRam(config: DomainConfig): number | undefined;
  /**
   * Starts a machine for `options.config`, stopped before its first instruction. While it starts, every device's
   * connection is handed to `backEnds`; the machine is up once all of them serve. When the promise is rejected nothing of
   * the machine is left, but what `backEnds` made of its sockets is the caller's to close.
   *
   * Errors: `KEMARI_HYPERVISOR_...` for a host that cannot run it, and whatever `backEnds` throws.
   */
  start(options: MachineOptions): Promise<Machine>;
}

export interface MachineOptions {
  readonly domid: number;
  readonly config: DomainConfig;
  readonly backEnds: BackEnds;
  /** A folder that lasts as long as the host runs, for what was found out about it. */
  readonly cacheDirectory: string;
  /** A folder of this domain, for what must have a name in the file system while the machine starts. */
  readonly privateDirectory: string;
  /** Guest RAM: what `createRam` made, or a file of `config.memoryBytes`; it stays the caller's. undefined: the machine makes its own. */
  readonly ramFd?: number | undefined;
  /** The machine waits for another's state (`Machine.load`) instead of standing before its first instruction. */
  readonly incoming?: boolean | undefined;
  /** With `incoming`: what the other one said of itself (`Machine.blueprint`). */
  readonly blueprint?: Buffer | undefined;
  /**
   * With `incoming`: one of this hypervisor's that `holdsCopy`, to go on waiting, with other back-ends. It stays the caller's when
   * the promise is rejected; else what is returned has taken its place.
   */
  readonly waiting?: Machine | undefined;
  /** Gives the start up: the promise is then rejected with `KEMARI_INTERRUPTED`. Of no effect once the machine is up. */
  readonly signal: AbortSignal;
  /** Called for what the machine does by itself, in order; never after `exited`; `exited` comes also when the start fails. */
  readonly onEvent: (event: MachineEvent) => void;
  /** The machine's process exists: it must not outlive its domain. */
  readonly onProcess: (pid: number) => void;
  /** Nor must this domain of the host's own hypervisor. */
  readonly onXenDomain: (domid: number) => void;
  /** Lines that the hypervisor prints. */
  readonly onOutput: (line: string) => void;
}

/** Takes our end of each device's connection; the descriptor then belongs to the callee. Called once for each. */
export interface BackEnds {
  /** The place of the disk in `config.disks`, and a connected vhost-user socket. */
  disk(index: number, fd: number): void;
  vif(index: number, fd: number): void;
  /**
   * The disk in that place, of a guest whose driver is found through this host's Xen: fulfilled when it is served, or known
   * where it will be.
   */
  xenDisk(index: number, domid: number): Promise<void>;
  /** The same of a NIC. */
  xenVif(index: number, domid: number): Promise<void>;
  /** A connected stream socket with the bytes of the serial console. */
  console(fd: number): void;
  /** A connected stream socket with the bytes of the serial port at which a guest agent listens, if `config.guestAgent`. */
  agent(fd: number): void;
}

export type MachineEvent =
  /** The vCPUs stopped or run (again), whoever wanted it. */
  | { readonly type: 'stopped' }
  | { readonly type: 'resumed' }
  | { readonly type: 'reset' }
  /** The guest switched itself off; the machine stands still. */
  | { readonly type: 'powered-off' }
  /**
   * The guest starts over (or died of a triple fault). With `onReboot` "restart" it has done so in place and goes on, and
   * firmware may have it do so twice; else the machine stands still.
   */
  | { readonly type: 'rebooted' }
  /** The guest says that its kernel panicked; the machine stands still. */
  | { readonly type: 'panicked' }
  /** The process is gone. The last event. */
  | { readonly type: 'exited'; readonly code: number | null; readonly signal: string | null };

export interface Machine {
  /** Of its process, where it has one. */
  readonly pid: number | undefined;
  /** For people, for example `7.2.22`. */
  readonly version: string;
  readonly accel: Accel;
  /** Page numbers of its checkpoints end below it. */
  readonly addressSpaceBytes: number;
  /** It waits for a guest, and memory of its own is what the guest's epochs were put into: with it they are lost. */
  readonly holdsCopy: boolean;

  /** Fulfilled when no vCPU runs any more. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Presses the power button; the guest may ignore it. */
  requestPowerOff(): Promise<void>;
  /** Back to the first instruction of its firmware, stopped. Only with `onReboot` "restart". */
  reset(): Promise<void>;
  /** Fulfilled when the process is gone. Idempotent. */
  kill(): Promise<void>;
  /**
   * What a capture works on; for one capture at a time, and descriptors in it that are not guest RAM are that capture's.
   * Not for a machine that made its own RAM file.
   */
  captureSource(): CaptureSource;
  /** Where a standby's link puts guest memory. Only with `incoming`. */
  standbyMemory(): StandbyMemory;
  /** What another host's hypervisor needs, beside the configuration, to have a machine wait for this one's state. */
  blueprint(): Promise<Buffer | undefined>;
  /**
   * Loads the state of a machine that was saved elsewhere, guest RAM being in place already; the machine then stands as
   * that one did, and `resume` lets it run. Only with `incoming`, once. Errors: `KEMARI_MACHINE_STATE` when it is not
   * this machine's; it is of no use any more then.
   */
  load(state: Buffer): Promise<void>;
  /** Errors: `KEMARI_MACHINE_MEMORY` for memory that a checkpoint would not have; `KEMARI_QMP_...`. */
  describe(): Promise<MachineDescription>;
  /** CPU time that the process has used, in seconds, vCPUs included. */
  cpuSeconds(): number;
}
