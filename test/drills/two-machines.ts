import { request } from 'node:http';
import { closeSync, mkdtempSync, readFileSync, rmSync, chmodSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { join } from 'node:path';
import { execa, execaSync } from 'execa';
import { stringify } from 'smol-toml';
import { waitUntil } from '../../src/base/deadline.js';
import { MachineRun, type RunEvent, type Takeover } from '../../src/commands/device-model/machine-run.js';
import type { Machine } from '../../src/hypervisor/contract.js';
import { Qemu } from '../../src/hypervisor/qemu/qemu.js';
import { QmpClient } from '../../src/hypervisor/qemu/qmp-client.js';
import type { DomainConfig, MachineType } from '../../src/model/domain-config.js';
import { parseDomainFile } from '../../src/model/domain-file.js';
import { addon } from '../../src/native/addon.js';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { temporaryFolder } from '../fixtures/temporary-folder.js';
import { testing } from '../native/testing.js';

const BRIDGE = 'kembr0';
const CLIENT = '10.77.0.1';
const GUEST = '10.77.0.2';
/** What the guest prints when its services listen. */
export const READY = 'kemari-guest: ready';
export const BOOT_TIMEOUT_MS = 150_000;
const QMP_TIMEOUT_MS = 20_000;
const DATA_BYTES = 32 << 20;

export interface Variant {
  readonly machine: MachineType;
  readonly vcpus: number;
  /** Data disks beside the root disk, and NICs, of which the first has the client. */
  readonly dataDisks: number;
  readonly vifs: number;
  readonly queues: number;
  readonly virtio: 'legacy' | 'modern';
  /** KEMARI_QEMU; undefined: the installed one. */
  readonly qemu: string | undefined;
}

/** One machine on this host, with what it said. */
export interface Side {
  readonly run: MachineRun;
  readonly machine: Machine;
  readonly ramFd: number;
  readonly console: () => string;
  readonly events: readonly RunEvent[];
}

/**
 * Two machines of one domain in this process, which is the client of both: a takeover without hosts and without a link. The
 * process is moved to a network of its own.
 */
export class TwoMachines {
  readonly folder = temporaryFolder('takeover');
  readonly config: DomainConfig;
  readonly #variant: Variant;
  readonly #sides: Side[] = [];
  readonly #fds: number[] = [];

  constructor(variant: Variant) {
    this.#variant = variant;
    // QEMU, which is another user, writes its state here.
    chmodSync(this.folder, 0o777);
    this.config = parseDomainFile(stringify(this.#domainFile()), { name: 'takeover.toml', folder: this.folder });
  }

  /** Once a process. */
  static async prepareNetwork(): Promise<void> {
    testing.unshareNetwork();
    const ip = async (...args: string[]): Promise<unknown> => execa('ip', args);
    await ip('link', 'set', 'lo', 'up');
    await ip('link', 'add', BRIDGE, 'type', 'bridge');
    await ip('address', 'add', `${CLIENT}/24`, 'dev', BRIDGE);
    await ip('link', 'set', BRIDGE, 'up');
  }

  async boot(): Promise<Side> {
    const primary = await this.#start(1, (run) => run.start());
    await primary.machine.resume();
    const isReady = (): boolean => primary.console().includes(READY);
    if (!(await waitUntil(isReady, { timeoutMs: BOOT_TIMEOUT_MS, everyMs: 50 }))) {
      throw new Error(`the guest did not come up; it printed:\n${primary.console()}`);
    }
    // The guest before this one had the same address. Connections to it may still be looking for it, and what they do not
    // find is unreachable to whoever asks next.
    await execa('ip', ['neighbour', 'flush', 'dev', BRIDGE]);
    return primary;
  }

  /** A machine that waits to take over from `from`. */
  async prepareStandby(from: Side): Promise<Side> {
    const ramFd = addon.createRam('standby', this.config.memoryBytes);
    this.#fds.push(ramFd);
    const geometries = from.run.devices.diskGeometries();
    return this.#start(this.#sides.length + 1, (run) => run.prepareStandby({ ramFd, geometries }));
  }

  /** What a protected domain's devices do: stops are answered at once, and nothing leaves. */
  protect(side: Side): void {
    for (const device of side.run.devices.all) device.setSuspendOnStop(true);
    side.run.devices.gate.close();
  }

  /** One epoch: stops, cuts, resumes, and lets out what the cut covers. */
  async epoch(side: Side): Promise<void> {
    const { gate, all } = side.run.devices;
    await side.machine.pause();
    const through = gate.cut();
    for (const device of all) device.cut();
    await side.machine.resume();
    gate.release(through);
  }

  /** Stops the machine for good and takes its checkpoint; its memory goes into `target`. */
  async capture(side: Side, target: Side): Promise<Takeover> {
    const { devices } = side.run;
    const fd = monitorOf(side.machine);
    const qmp = new QmpClient(new Socket({ fd, readable: true, writable: true }), {
      onEvent: () => undefined,
      onBroken: () => undefined,
    });
    await qmp.negotiate(QMP_TIMEOUT_MS);
    await qmp.execute('stop');
    const file = join(this.folder, `state${side.machine.pid}`);
    await qmp.execute('xen-save-devices-state', { filename: file, live: false });
    devices.gate.cut();
    const parts = devices.all.map((device) => device.cut());
    const console = devices.consoleDevice!.cut();
    const size = this.config.memoryBytes;
    new Uint8Array(testing.map(target.ramFd, size)).set(new Uint8Array(testing.map(side.ramFd, size)));
    qmp.close();
    return { machineState: readFileSync(file), devices: parts, console, steal: true };
  }

  /** A shell script's output in the guest; the connection may outlive a machine. */
  guest(script: string, timeoutMs: number): Promise<{ status: number; output: string }> {
    return new Promise((resolve, reject) => {
      const call = request(
        { host: GUEST, path: '/cgi-bin/run', method: 'POST', timeout: timeoutMs, agent: false },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('end', () => {
            resolve({ status: Number(answer.headers['x-exit-status']), output: Buffer.concat(chunks).toString() });
          });
          answer.on('error', reject);
        },
      );
      call.on('error', reject);
      call.on('timeout', () => call.destroy(new Error(`the guest did not answer within ${timeoutMs} ms: ${script}`)));
      call.end(script);
    });
  }

  connect(port: number): Socket {
    return connect({ host: GUEST, port, noDelay: true });
  }

  async close(): Promise<void> {
    await Promise.all(this.#sides.map(({ run }) => run.end()));
    for (const fd of this.#fds) closeSync(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(domid: number, begin: (run: MachineRun) => Promise<Machine>): Promise<Side> {
    const events: RunEvent[] = [];
    let shown = '';
    const run = new MachineRun({
      domid,
      config: this.config,
      hypervisor: new Qemu({ ...process.env, KEMARI_QEMU: this.#variant.qemu }),
      cacheDirectory: this.folder,
      privateDirectory: mkdtempSync(join(this.folder, `domain${domid}-`)),
      attachConsole: (fd) => {
        const socket = new Socket({ fd, readable: true, writable: true });
        socket.on('data', (chunk: Buffer) => (shown += chunk.toString('latin1')));
        socket.on('error', () => socket.destroy());
      },
      onProcess: () => undefined,
      onXenDomain: () => undefined,
      onOutput: () => undefined,
      onEvent: (event) => events.push(event),
    });
    const machine = await begin(run);
    const side = { run, machine, ramFd: ramOf(machine), console: () => shown, events };
    this.#sides.push(side);
    return side;
  }

  #domainFile(): Record<string, unknown> {
    const { machine, vcpus, dataDisks, vifs, queues, virtio } = this.#variant;
    const root = join(this.folder, 'root.img');
    execaSync('cp', ['--sparse=always', GUEST_IMAGE.rootDisk, root]);
    const data = Array.from({ length: dataDisks }, (_, index) => {
      const path = join(this.folder, `data${index}.img`);
      writeFileSync(path, '');
      truncateSync(path, DATA_BYTES);
      return `format=raw, vdev=xvd${'bcd'[index]}, access=rw, queues=${queues}, target=${path}`;
    });
    return {
      ...{
        name: 'takeover',
        machine,
        vcpus,
        accel: 'tcg',
        virtio_version: virtio,
        memory: 256,
        kernel: GUEST_IMAGE.kernel,
        ramdisk: GUEST_IMAGE.ramdisk,
      },
      cmdline: `console=ttyS0 quiet ip=${GUEST}::${CLIENT}:255.255.255.0::eth0:off kemari.run=http,ledger root=/dev/vda`,
      disk: [`format=raw, vdev=xvda, access=rw, target=${root}`, ...data],
      vif: Array.from({ length: vifs }, () => `bridge=${BRIDGE}, queues=${queues}`),
    };
  }
}

/** A monitor of QEMU's for whoever captures; the caller's to close. */
export function monitorOf(machine: Machine): number {
  const source = machine.captureSource();
  if ('monitorFd' in source) return source.monitorFd;
  throw new Error("the machine is none of QEMU's");
}

function ramOf(machine: Machine): number {
  const memory = machine.standbyMemory();
  if ('ramFd' in memory) return memory.ramFd;
  throw new Error('guest memory is no file');
}
