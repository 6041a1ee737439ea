import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, realpathSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { waitUntil } from '../../src/base/deadline.js';
import { messageOf } from '../../src/base/errors.js';
import { readJsonLines, writeJsonLine } from '../../src/base/json-lines.js';
import { AGENT_PORT, type AgentEvent, type AgentRequest } from './agent-protocol.js';
import { XEN_IMAGE } from './xen-image.js';

const PROJECT = resolve(import.meta.dirname, '../../..');
const MEMORY_MIB = 3072;
const DOM0_MEMORY_MIB = 1024;

/**
 * Two processors: one is dom0's, on the other a guest does not wait for it. The rest leaves out what costs time under
 * emulation and protects from nobody here.
 */
const XEN_OPTIONS =
  `console=com1 com1=115200,8n1 dom0_mem=${DOM0_MEMORY_MIB}M dom0_max_vcpus=1 dom0_vcpus_pin=1 sched=credit ` +
  'spec-ctrl=no xpti=no smt=1 cpuidle=0';
const DOM0_OPTIONS = 'console=hvc0 mitigations=off nopti panic=-1 quiet';

/** How long a node may take to be up, and a killed one to be gone, on a loaded machine. */
const BOOT_TIMEOUT_MS = 240_000;
const END_TIMEOUT_MS = 20_000;

/** Of a cable's two ends: bridges would take one address for one machine. */
const MACS = { listens: '52:54:00:4b:45:01', connects: '52:54:00:4b:45:02' } as const;

export interface ScriptResult {
  readonly status: number;
  /** What it printed, stdout and stderr as they came. */
  readonly output: string;
}

interface Running {
  output: string;
  readonly resolve: (result: ScriptResult) => void;
  readonly reject: (error: Error) => void;
}

/** One end of a cable between two nodes: a Unix socket, which one of them makes. */
export interface Cable {
  readonly path: string;
  readonly end: 'listens' | 'connects';
}

/** What a node has besides its own. */
export interface Attached {
  readonly cable?: Cable;
  /** An image file that several nodes write to, their second disk (/dev/vdb). It outlives them as storage outlives a host. */
  readonly sharedDisk?: string;
}

/**
 * A whole machine that runs Xen and a dom0, in a QEMU of this process: emulated, AMD with SVM, so that it needs nothing of
 * the host. Its disk is a snapshot. In dom0, /srv/kemari is this project and `node` is the Node.js that runs this.
 */
export class NestedNode {
  readonly name: string;
  /** Its console and its sockets; gone with it. */
  readonly folder: string;
  readonly #server: Server;
  readonly #running = new Map<number, Running>();
  #qemu: { readonly child: ChildProcess; readonly closed: Promise<unknown> } | undefined;
  #agent: Socket | undefined;
  #nextId = 1;
  #ended: Error | undefined;

  private constructor(name: string) {
    this.name = name;
    this.folder = mkdtempSync(join(tmpdir(), `kemari-xen-${name}-`));
    this.#server = createServer();
  }

  /** Starts a machine and waits until dom0 takes commands. When that fails nothing is left. */
  static async boot(name: string, attached: Attached = {}): Promise<NestedNode> {
    const node = new NestedNode(name);
    try {
      await node.#boot(attached);
      return node;
    } catch (error) {
      const log = node.log();
      await node.kill();
      throw new Error(`${messageOf(error)}; the console of ${name} ends with:\n${log.slice(-4_000)}`, { cause: error });
    }
  }

  /** Everything that Xen and dom0 have printed. */
  log(): string {
    try {
      return readFileSync(join(this.folder, 'console'), 'latin1');
    } catch {
      return ''; // it has not begun
    }
  }

  get pid(): number | undefined {
    return this.#qemu?.child.pid;
  }

  /** Runs a script by dom0's bash. Throws when the node ends, or the time does. */
  async run(script: string, timeoutMs: number): Promise<ScriptResult> {
    const agent = this.#agent;
    if (this.#ended !== undefined || agent === undefined) throw this.#ended ?? new Error(`${this.name} is not up`);
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<ScriptResult>((resolve, reject) => {
        const running: Running = { output: '', resolve, reject };
        this.#running.set(id, running);
        timer = setTimeout(() => {
          reject(new Error(`${this.name}: not done within ${timeoutMs} ms: ${script}\n${running.output}`));
        }, timeoutMs);
        writeJsonLine(agent, { id, script } satisfies AgentRequest);
      });
    } finally {
      clearTimeout(timer);
      this.#running.delete(id);
    }
  }

  /** As `run`, for a script that has to succeed; returns what it printed. */
  async expect(script: string, timeoutMs: number): Promise<string> {
    const { status, output } = await this.run(script, timeoutMs);
    if (status !== 0) throw new Error(`${this.name}: status ${status} of: ${script}\n${output}`);
    return output;
  }

  /** The machine's power is pulled: SIGKILL to its QEMU. Returns when it is gone and nothing of it is left. Idempotent. */
  async kill(): Promise<void> {
    this.#fail(new Error(`${this.name} was killed`));
    const qemu = this.#qemu;
    if (qemu !== undefined) {
      qemu.child.kill('SIGKILL');
      await Promise.race([qemu.closed, expiry(END_TIMEOUT_MS, `QEMU of ${this.name} does not end`)]);
    }
    this.#agent?.destroy();
    this.#server.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #boot(attached: Attached): Promise<void> {
    const socketPath = join(this.folder, 'agent');
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, resolve);
    });
    const ready = new Promise<void>((resolve) => {
      this.#server.once('connection', (socket) => {
        this.#agent = socket;
        readJsonLines(
          socket,
          (value) => {
            const event = value as AgentEvent;
            if (event.type === 'ready') resolve();
            else this.#heard(event);
          },
          (error) => {
            this.#fail(error);
          },
        );
      });
    });
    // QEMU 7.2 tries to connect once.
    if (attached.cable?.end === 'connects') {
      const { path } = attached.cable;
      await waitUntil(() => existsSync(path), { timeoutMs: BOOT_TIMEOUT_MS });
    }
    // If this process dies, so does the machine.
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...this.#arguments(socketPath, attached)],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const closed = once(child, 'close');
    this.#qemu = { child, closed };
    const ended = closed.then(() => {
      const error = new Error(`QEMU of ${this.name} ended: ${said}`);
      this.#fail(error);
      throw error;
    });
    ended.catch(() => undefined); // whoever waits for something has heard
    await Promise.race([ready, ended, expiry(BOOT_TIMEOUT_MS, `${this.name} is not up after ${BOOT_TIMEOUT_MS} ms`)]);
  }

  #arguments(socketPath: string, { cable, sharedDisk }: Attached): string[] {
    const share = (tag: string, path: string): string[] => [
      ...['-fsdev', `local,id=${tag},path=${path},security_model=none,readonly=on,multidevs=remap`],
      ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
    ];
    const stream = (end: Cable): string =>
      `stream,id=cable,server=${end.end === 'listens' ? 'on' : 'off'},addr.type=unix,addr.path=${end.path}`;
    return [
      ...['-name', `kemari-xen-${this.name}`, '-M', 'q35', '-accel', 'tcg,thread=multi,tb-size=512'],
      // Other models have what Xen takes for an error here (MWAIT, RDTSCP).
      ...['-cpu', 'qemu64,+svm,-monitor', '-smp', '2', '-m', `${MEMORY_MIB}`],
      ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${join(this.folder, 'console')}`],
      ...['-kernel', XEN_IMAGE.hypervisor, '-append', XEN_OPTIONS],
      ...['-initrd', `${XEN_IMAGE.kernel} ${DOM0_OPTIONS},${XEN_IMAGE.initrd}`],
      ...['-drive', `file=${XEN_IMAGE.disk},format=raw,if=none,id=root,snapshot=on,cache=unsafe`],
      ...['-device', 'virtio-blk-pci,drive=root'],
      ...share('kemari', PROJECT),
      ...share('node', dirname(realpathSync(process.execPath))),
      ...['-chardev', `socket,id=agent,path=${socketPath}`],
      ...['-device', 'virtio-serial-pci', '-device', `virtserialport,chardev=agent,name=${AGENT_PORT}`],
      ...(sharedDisk === undefined
        ? []
        : [
            ...['-drive', `file=${sharedDisk},format=raw,if=none,id=shared,cache=writeback,file.locking=off`],
            ...['-device', 'virtio-blk-pci,drive=shared,serial=kemari-shared,share-rw=on'],
          ]),
      ...(cable === undefined
        ? []
        : ['-netdev', stream(cable), '-device', `virtio-net-pci,netdev=cable,mac=${MACS[cable.end]}`]),
    ];
  }

  #heard(event: Exclude<AgentEvent, { type: 'ready' }>): void {
    const running = this.#running.get(event.id);
    if (running === undefined) return; // nobody waits any more
    if (event.type === 'output') running.output += event.text;
    else running.resolve({ status: event.status, output: running.output });
  }

  #fail(error: Error): void {
    this.#ended ??= error;
    for (const running of this.#running.values()) running.reject(error);
  }
}

/** Throws after so long. */
async function expiry(timeoutMs: number, text: string): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => {
      reject(new Error(text));
    }, timeoutMs).unref();
  });
}
