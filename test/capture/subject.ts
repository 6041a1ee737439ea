import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { stringify } from 'smol-toml';
import type { BackEnds, Machine, MachineEvent } from '../../src/hypervisor/contract.js';
import type { DomainConfig, MachineType } from '../../src/model/domain-config.js';
import { parseDomainFile } from '../../src/model/domain-file.js';
import { Qemu } from '../../src/hypervisor/qemu/qemu.js';
import { CLIENT_ADDRESS, guestAddress, NETMASK, PREFIX_BITS, PRIVATE_BRIDGE } from '../../src/stage/private-network.js';
import type { Capture } from '../../src/native/capture.js';
import type { LinkSender } from '../../src/native/link.js';
import { addon, type Console, type OutputGate, type RingDevice } from '../../src/native/addon.js';
import { attachVif } from '../../src/ring/vif.js';
import { attachDisk } from '../../src/storage/disk.js';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { testing } from '../native/testing.js';
import { temporaryFolder } from '../fixtures/temporary-folder.js';

const BOOT_TIMEOUT_MS = 150_000;
const RUN_TIMEOUT_MS = 60_000;
/** What hack/guest/start prints when every service listens. */
const READY = 'kemari-guest: ready';
/** No domain of a host has it. */
const DOMID = 30_000;

export interface SubjectOptions {
  readonly machine?: MachineType;
  readonly vcpus?: number;
  readonly memoryMib?: number;
  readonly disks?: number;
  readonly vifs?: number;
  readonly virtio?: 'legacy' | 'modern';
  /** The program; undefined: the installed one. */
  readonly qemu?: string | undefined;
}

/** A network for this process alone, with the bridge and the client's address on it. Once, before anything else. */
export function makeNetwork(): void {
  testing.unshareNetwork();
  const ip = (...args: readonly string[]): unknown => execFileSync('ip', args);
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', PRIVATE_BRIDGE, 'type', 'bridge');
  ip('address', 'add', `${CLIENT_ADDRESS}/${PREFIX_BITS}`, 'dev', PRIVATE_BRIDGE);
  ip('link', 'set', PRIVATE_BRIDGE, 'up');
}

/** The test guest with its back-ends in this process, so that a capture can be made of it without any domain around it. */
export class Subject implements BackEnds {
  readonly config: DomainConfig;
  readonly ramFd: number;
  readonly gate: OutputGate = new addon.OutputGate();
  readonly devices: RingDevice[] = [];
  readonly events: MachineEvent[] = [];
  readonly output: string[] = [];
  console_: Console | undefined;
  machine!: Machine;
  readonly #folder: string;
  readonly #deviceEvents: string[] = [];
  #shown = '';
  #outlet: Socket | undefined;
  #closed: Promise<void> | undefined;
  #watchers: (() => void)[] = [];

  private constructor(folder: string, config: DomainConfig) {
    this.#folder = folder;
    this.config = config;
    this.ramFd = addon.createRam('kemari-subject', config.memoryBytes);
  }

  /** Boots the guest until its services listen. */
  static async boot(options: SubjectOptions = {}): Promise<Subject> {
    const subject = await Subject.create(options);
    try {
      // All guests have one address after the other: what a connection to the last one still asks for in vain (ARP) is not to
      // fail the first to this one.
      const station = ['lladdr', subject.config.vifs[0]!.mac, 'dev', PRIVATE_BRIDGE, 'nud', 'permanent'];
      execFileSync('ip', ['neigh', 'replace', guestAddress(0), ...station]);
      await subject.machine.resume();
      await subject.#shows(READY);
      return subject;
    } catch (error) {
      await subject.close();
      throw error;
    }
  }

  /** A machine that stands before its first instruction. */
  static async create(options: SubjectOptions = {}): Promise<Subject> {
    const folder = temporaryFolder('capture');
    const subject = new Subject(folder, configuration(folder, options));
    try {
      subject.machine = await new Qemu({ ...process.env, ...(options.qemu && { KEMARI_QEMU: options.qemu }) }).start({
        ...{ domid: DOMID, config: subject.config, backEnds: subject, ramFd: subject.ramFd },
        ...{ cacheDirectory: folder, privateDirectory: folder, signal: new AbortController().signal },
        onEvent: (event) => {
          subject.events.push(event);
          subject.#wake();
        },
        onProcess: () => undefined,
        onXenDomain: () => undefined,
        onOutput: (line) => subject.output.push(line),
      });
      return subject;
    } catch (error) {
      await subject.close();
      throw error;
    }
  }

  disk(index: number, socketFd: number): void {
    const disk = this.config.disks[index]!;
    this.devices[index] = attachDisk({
      ...{ domainUuid: this.config.uuid, index, disk, driver: { socketFd }, gate: this.gate },
      onEvent: (event) => this.#deviceEvents.push(event.text),
    });
  }

  xenDisk(): never {
    throw new Error('it is no guest of Xen');
  }

  xenVif(): never {
    throw new Error('it is no guest of Xen');
  }

  vif(index: number, socketFd: number): void {
    const vif = this.config.vifs[index]!;
    this.devices[this.config.disks.length + index] = attachVif({
      ...{ domid: DOMID, index, vif, driver: { socketFd }, gate: this.gate },
      onEvent: (event) => this.#deviceEvents.push(event.text),
    }).device;
  }

  agent(): void {
    throw new Error('the test guest has no agent');
  }

  console(guestFd: number): void {
    const [ours, theirs] = addon.socketPair();
    this.console_ = new addon.Console({ guestFd, outletFd: theirs, gate: this.gate });
    this.#outlet = new Socket({ fd: ours, readable: true, writable: true });
    this.#outlet.on('data', (bytes) => {
      this.#shown += bytes.toString('latin1');
      this.#wake();
    });
  }

  /** A capture of this guest that is not attached yet. */
  capture(link: LinkSender): Capture {
    return new addon.Capture({
      ...this.machine.captureSource(),
      ...{ gate: this.gate, devices: this.devices, console: this.console_, link },
    });
  }

  /** Runs a shell script in the guest, as its root; returns the answer with what it printed. */
  async run(script: string): Promise<string> {
    const url = `http://${guestAddress(0)}/cgi-bin/run`;
    const args = [
      '--silent',
      '--show-error',
      '--include',
      '--max-time',
      String(RUN_TIMEOUT_MS / 1000),
      '--data-binary',
      '@-',
    ];
    const { stdout: output } = await execa('curl', [...args, url], { input: script });
    if (!/^X-Exit-Status: 0\r?$/m.test(output)) throw new Error(`in the guest failed: ${script}\n${output}`);
    return output;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await (this.machine as Machine | undefined)?.kill();
    await Promise.all(this.devices.map((device) => device.close()));
    await this.console_?.close();
    this.#outlet?.destroy();
    closeSync(this.ramFd);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async #shows(text: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void => {
        reject(new Error(`${why}; the console showed:\n${this.#shown}\nQEMU printed:\n${this.output.join('\n')}`));
      };
      const timer = setTimeout(() => {
        fail(`the guest did not show "${text}"`);
      }, BOOT_TIMEOUT_MS);
      this.#watchers.push(() => {
        if (this.#shown.includes(text)) resolve();
        else if (this.events.some(({ type }) => type === 'exited')) fail('QEMU ended');
        else return;
        clearTimeout(timer);
        this.#watchers = [];
      });
    });
  }
}

/** Disks beyond the first, which is the guest's root, are empty; so is the only disk of a machine without a root disk. */
function configuration(folder: string, options: SubjectOptions): DomainConfig {
  const disks = Array.from({ length: options.disks ?? 1 }, (_, index) => join(folder, `disk${index}.img`));
  for (const [index, disk] of disks.entries()) {
    if (index === 0) execFileSync('cp', ['--sparse=always', GUEST_IMAGE.rootDisk, disk]);
    else execFileSync('truncate', ['--size=64M', disk]);
  }
  const words = [
    'console=ttyS0 quiet kemari.run=http',
    `ip=${guestAddress(0)}::${CLIENT_ADDRESS}:${NETMASK}::eth0:off`,
    ...(disks.length > 0 ? ['root=/dev/vda'] : []),
  ];
  const text = stringify({
    name: 'subject',
    machine: options.machine ?? 'q35',
    memory: options.memoryMib ?? 512,
    vcpus: options.vcpus ?? 1,
    virtio_version: options.virtio ?? 'legacy',
    kernel: GUEST_IMAGE.kernel,
    ramdisk: GUEST_IMAGE.ramdisk,
    cmdline: words.join(' '),
    disk: disks.map(
      (disk, index) => `format=raw, vdev=xvd${String.fromCharCode(97 + index)}, access=rw, target=${disk}`,
    ),
    vif: Array.from({ length: options.vifs ?? 1 }, () => `bridge=${PRIVATE_BRIDGE}`),
  });
  return parseDomainFile(text, { name: 'subject.toml', folder });
}
