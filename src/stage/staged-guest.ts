import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { stringify } from 'smol-toml';
import { waitUntil } from '../base/deadline.js';
import { readableLogLine } from '../base/log-line.js';
import { asKemariError, errorFromWire, KemariError, messageOf } from '../base/errors.js';
import type { DomainInfo } from '../host/contract.js';
import { request } from '../host/control-client.js';
import type { EpochRecord } from '../host/epoch-record.js';
import { domainPaths, hostPaths, logPath } from '../host/paths.js';
import type { MachineType } from '../model/domain-config.js';
import { waitForConsole } from './console.js';
import { Conversation, type ConversationOptions } from './conversation.js';
import { GuestShell } from './guest-shell.js';
import { HOST_NAMES, otherHost, type HostName } from './names.js';
import { StorageHost, type ExportedDisk, type StorageFault } from './storage-host.js';
import { GUEST_BRIDGE, guestNetwork, HOST_ADDRESSES } from './topology.js';
import type { TwoHosts } from './two-hosts.js';

/** What hack/guest-image builds. */
export interface GuestImage {
  readonly kernel: string;
  readonly ramdisk: string;
  readonly rootDisk: string;
}

export interface StagedGuestOptions {
  readonly image: GuestImage;
  readonly machine?: MachineType;
  readonly vcpus?: number;
  readonly memoryMib?: number;
  /** Disks after the guest's own, of so many bytes each. */
  readonly moreDisks?: readonly number[];
  /** A disk after those, of `sizeBytes`, for which storage has no more than `roomBytes`. */
  readonly fullDisk?: { readonly sizeBytes: number; readonly roomBytes: number };
  /** NICs after the first, on the same network, without an address. */
  readonly moreVifs?: number;
  /** What it starts (hack/guest/start); HTTP and the ledger unless told otherwise. */
  readonly services?: string;
  /** More keys of the domain file. */
  readonly keys?: Readonly<Record<string, string | number>>;
  /** Disks of others, served beside the guest's own. */
  readonly otherDisks?: readonly ExportedDisk[];
  /** How storage misbehaves; then the guest has one disk. */
  readonly storageFault?: StorageFault;
}

export const GUEST_NAME = 'guest';
export const GUEST_ADDRESS = '10.77.0.2';
export const GUEST_MAC = '00:16:3e:77:00:02';
const MORE_MACS = '00:16:3e:77:01:';

const READY = 'kemari-guest: ready';
const ROOT_DISK = 'root';
const KEMARID = join(import.meta.dirname, '../cli/kemarid.js');
const KEMARID_PORT = 8002;

/** Software emulation on a busy machine: generous, since these only bound a failure. */
const BOOT_TIMEOUT_MS = 150_000;
const COMMAND_TIMEOUT_MS = 90_000;
const RUN_TIMEOUT_MS = 60_000;
const DAEMON_TIMEOUT_MS = 20_000;

/**
 * A guest on two hosts: created on host A as a user would, its disks on the storage host, its ledger's client on the
 * client network. Which host runs it is found out, not assumed.
 */
export class StagedGuest {
  readonly stage: TwoHosts;
  readonly shell: GuestShell;
  readonly disks: readonly ExportedDisk[];

  private constructor(stage: TwoHosts, disks: readonly ExportedDisk[]) {
    this.stage = stage;
    this.disks = disks;
    this.shell = new GuestShell(GUEST_ADDRESS, (command) => stage.machines.client.command(command));
  }

  /** Creates the guest on host A and waits until its services listen. Errors: with the domain's log. */
  static async boot(stage: TwoHosts, options: StagedGuestOptions): Promise<StagedGuest> {
    const disks = [await stage.storage.copyImage(ROOT_DISK, options.image.rootDisk)];
    for (const [index, bytes] of (options.moreDisks ?? []).entries()) {
      disks.push(await stage.storage.emptyImage(`data${index}`, bytes));
    }
    const { fullDisk } = options;
    if (fullDisk !== undefined) {
      disks.push(await stage.storage.smallImage('full', fullDisk.sizeBytes, fullDisk.roomBytes));
    }
    await stage.storage.serve([...disks, ...(options.otherDisks ?? [])], options.storageFault);
    const guest = new StagedGuest(stage, disks);
    writeFileSync(guest.domainFile, stringify(domainFile(options, disks)));
    try {
      await guest.create('A');
      return guest;
    } catch (error) {
      throw new KemariError('KEMARI_STAGE', `${messageOf(error)}\nthe domain's log:\n${guest.log('A')}`, {
        cause: error,
      });
    }
  }

  /** Has a host start the guest, from its disk, and waits until its services listen. Errors: those of `kemari`. */
  async create(host: HostName, ...options: string[]): Promise<void> {
    await this.kemari(host, 'create', ...options, this.domainFile);
    await waitForConsole(this.#paths(host).consoleSocket, READY, BOOT_TIMEOUT_MS);
  }

  /** What `kemari create` is given on either host. */
  get domainFile(): string {
    return join(this.stage.names.directory, `${GUEST_NAME}.toml`);
  }

  /** Runs the command line on a host and returns what it printed. Errors: what it says in JSON, else `KEMARI_STAGE`. */
  async kemari(host: HostName, ...args: string[]): Promise<string> {
    const [program, ...rest] = this.stage.machines[host].command([join(this.stage.names.bin, 'kemari'), ...args]);
    const env = this.stage.environment(host);
    const options = { env, timeout: COMMAND_TIMEOUT_MS, stdin: 'ignore', reject: false } as const;
    const { exitCode, stdout, stderr, timedOut } = await execa(program, rest, options);
    if (exitCode === 0) return stdout;
    const what = `on host ${host}: kemari ${args.join(' ')}`;
    throw (
      errorSaid(stderr, what) ?? new KemariError('KEMARI_STAGE', `${what}: ${timedOut ? 'timed out: ' : ''}${stderr}`)
    );
  }

  /**
   * Starts kemarid on a host, told how to fence the other one unless it is to have no fence, and waits until it listens.
   * `plain`: nothing is encrypted. `fault`: the KEMARI_FAULT of what it starts. Returns its pid. Errors: with its log.
   */
  async startDaemon(
    host: HostName,
    {
      fence = true,
      plain = false,
      fault,
    }: { readonly fence?: boolean; readonly plain?: boolean; readonly fault?: string } = {},
  ): Promise<number> {
    const logFile = this.daemonLogPath(host);
    mkdirSync(hostPaths(this.stage.root(host)).logDirectory, { recursive: true });
    const log = openSync(logFile, 'a', 0o600);
    const options = ['--root', this.stage.root(host)];
    if (plain) options.push('--plain');
    if (fence) options.push('--fence-cmd', this.stage.fenceCommand(otherHost(host)));
    const namespace = this.stage.machines[host];
    const [program, ...args] = namespace.command([process.execPath, KEMARID, ...options]);
    const env = { ...process.env, ...this.stage.environment(host), KEMARI_FAULT: fault };
    const child = spawn(program, args, { cwd: '/', env, stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    child.unref();
    const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
    const listens = async (): Promise<boolean> =>
      ended() || (await namespace.run(['ss', '-Htln', `src :${KEMARID_PORT}`])) !== '';
    if ((await waitUntil(listens, { timeoutMs: DAEMON_TIMEOUT_MS })) && !ended() && child.pid !== undefined)
      return child.pid;
    throw new KemariError('KEMARI_STAGE', `kemarid does not listen on host ${host}:\n${readFileSync(logFile, 'utf8')}`);
  }

  /** Protects the guest on the other host, over the sync link, Kemari's way unless told otherwise; returns once it is protected. */
  async protect(from: HostName, ...options: string[]): Promise<string> {
    const to = HOST_ADDRESSES[otherHost(from)].sync;
    const policy = options.includes('--remus') ? [] : ['--kemari'];
    return this.kemari(from, 'migrate', GUEST_NAME, to, ...policy, '--detach', ...options);
  }

  /** What a host's kemari-dm says of the guest. Errors: `KEMARI_NO_SUCH_DOMAIN` where the host has none; those of `request`. */
  async info(host: HostName): Promise<DomainInfo> {
    return request({ name: GUEST_NAME, controlSocket: this.#paths(host).controlSocket }, { verb: 'info' });
  }

  /** The last epochs of the guest's protection from this host, oldest first. Errors: as `info`; `KEMARI_NOT_PROTECTED`. */
  async trace(host: HostName): Promise<readonly EpochRecord[]> {
    return request({ name: GUEST_NAME, controlSocket: this.#paths(host).controlSocket }, { verb: 'trace' });
  }

  /** Whether the guest's CPUs run on this host, by its own word; false where it has no such domain. */
  async runsOn(host: HostName): Promise<boolean> {
    try {
      return (await this.info(host)).state === 'running';
    } catch (error) {
      const { code } = asKemariError(error);
      if (code === 'KEMARI_NO_SUCH_DOMAIN' || code === 'KEMARI_NO_CONNECTION') return false;
      throw error;
    }
  }

  /** Waits until the guest runs on this host. Errors: `KEMARI_STAGE` with both hosts' logs. */
  async untilRunsOn(host: HostName, timeoutMs: number): Promise<void> {
    if (await waitUntil(() => this.runsOn(host), { timeoutMs })) return;
    const logs = HOST_NAMES.map((name) => `host ${name}:\n${this.log(name)}`).join('\n');
    throw new KemariError('KEMARI_STAGE', `the guest does not run on host ${host} after ${timeoutMs} ms\n${logs}`);
  }

  /** Runs a script in the guest that must succeed; returns what it printed. */
  async run(script: string, timeoutMs = RUN_TIMEOUT_MS): Promise<string> {
    return this.shell.mustRun(script, timeoutMs);
  }

  /** A client's one connection with the guest's ledger. */
  async converse(options: Omit<ConversationOptions, 'address'> = {}): Promise<Conversation> {
    return Conversation.start(this.stage.machines.client, { address: GUEST_ADDRESS, ...options });
  }

  /** Has the guest power off, and waits until its domain is gone from this host. */
  async shutdown(host: HostName): Promise<void> {
    await this.kemari(host, 'shutdown', '--wait', '--timeout', String(RUN_TIMEOUT_MS / 1000), GUEST_NAME);
  }

  daemonLogPath(host: HostName): string {
    return join(hostPaths(this.stage.root(host)).logDirectory, 'kemarid.log');
  }

  /** What the guest's domain and kemarid logged on a host, readable. */
  log(host: HostName): string {
    const paths = [logPath(hostPaths(this.stage.root(host)), GUEST_NAME), this.daemonLogPath(host)];
    const lines = paths.flatMap((path) => readIfThere(path).split('\n').filter(Boolean));
    return lines.map((line) => `${readableLogLine(line)}\n`).join('');
  }

  #paths(host: HostName): ReturnType<typeof domainPaths> {
    const paths = hostPaths(this.stage.root(host));
    const domid = readFolder(paths.domains).find((entry) => /^[1-9]\d*$/.test(entry));
    if (domid === undefined) throw new KemariError('KEMARI_NO_SUCH_DOMAIN', `host ${host} has no domain`);
    return domainPaths(paths, Number(domid));
  }
}

function domainFile(options: StagedGuestOptions, disks: readonly ExportedDisk[]): Record<string, unknown> {
  const { image, machine = 'q35', vcpus = 1, memoryMib = 512, moreVifs = 0, services = 'http,ledger' } = options;
  const macs = [GUEST_MAC, ...Array.from({ length: moreVifs }, (_, index) => `${MORE_MACS}0${index + 1}`)];
  return {
    name: GUEST_NAME,
    machine,
    vcpus,
    memory: memoryMib,
    kernel: image.kernel,
    ramdisk: image.ramdisk,
    cmdline: [`console=ttyS0 quiet root=/dev/vda kemari.run=${services}`, `ip=${guestNetwork(GUEST_ADDRESS)}`].join(
      ' ',
    ),
    disk: disks.map(({ name }, index) => {
      const letter = String.fromCharCode('a'.charCodeAt(0) + index);
      return `format=raw, vdev=xvd${letter}, access=rw, target=${StorageHost.uri(name)}`;
    }),
    vif: macs.map((mac) => `mac=${mac}, bridge=${GUEST_BRIDGE}`),
    ...options.keys,
  };
}

/** The error that the command line printed: `kemari: message [KEMARI_CODE]`, the last line of that form. */
function errorSaid(stderr: string, what: string): KemariError | undefined {
  const found = /^kemari: ([\s\S]*) \[(KEMARI_[A-Z0-9_]+)\]\s*$/m.exec(stderr);
  return found === null ? undefined : errorFromWire({ code: found[2], message: `${what}: ${found[1] ?? ''}` });
}

function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // a host on which nothing ran yet
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
