import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { waitUntil } from '../../../src/base/deadline.js';
import { Ownership } from '../../../src/commands/ownership.js';
import { hashBootFiles } from '../../../src/host/boot-hashes.js';
import type { ControlReplies, ControlRequest, DomainInfo, EventVerb } from '../../../src/host/contract.js';
import { request } from '../../../src/host/control-client.js';
import { hostId, thisInstance } from '../../../src/host/host-id.js';
import { makeKey, readKey } from '../../../src/host/key-file.js';
import { logPath } from '../../../src/host/paths.js';
import { Registry, type LiveDomain } from '../../../src/host/registry.js';
import type { HostInstance } from '../../../src/model/host-instance.js';
import { addon, type Disk } from '../../../src/native/addon.js';
import type { Capture } from '../../../src/native/capture.js';
import type { LinkSender, SenderEvent } from '../../../src/native/link.js';
import { identifyDisks } from '../../../src/storage/identity.js';
import { connectStandby } from '../../../src/wire/connect.js';
import type { Offer, PeerAddress } from '../../../src/wire/contract.js';
import type { Subject } from '../../capture/subject.js';
import { temporaryFolder } from '../../fixtures/temporary-folder.js';

const KEMARID = join(import.meta.dirname, '../../../src/cli/kemarid.js');

const LEASE_MS = 300;
const TAKEOVER_TIMEOUT_MS = 500;
const PATIENCE_MS = 30_000;

/** A kemarid of a host of its own, as the operator starts it. */
export class StandbyHost {
  readonly folder = temporaryFolder('standby');
  readonly registry = new Registry(join(this.folder, 'b'));
  readonly keyFile = join(this.folder, 'key');
  readonly said: string[] = [];
  address: PeerAddress = { host: '127.0.0.1', port: 0 };
  #process: ChildProcess | undefined;
  /** Its own, in its own mount namespace; undefined: what every program sees. */
  #stateFileSystem: string | undefined;

  static async start(t: ExecutionContext, ...options: string[]): Promise<StandbyHost> {
    const host = new StandbyHost();
    makeKey(host.keyFile, { replace: false });
    t.teardown(() => host.#remove());
    await host.startDaemon(...options);
    return host;
  }

  /** One that keeps its records on a file system that is soon full. */
  static async withLittleRoom(t: ExecutionContext): Promise<StandbyHost> {
    const host = new StandbyHost();
    makeKey(host.keyFile, { replace: false });
    t.teardown(() => host.#remove());
    // It is the same host to the test.
    hostId(host.registry.host);
    const state = host.registry.host.stateDirectory;
    host.#stateFileSystem = `cp -a ${state} ${state}.old && mount -t tmpfs -o size=64k tmpfs ${state} && cp -a ${state}.old/. ${state}`;
    await host.startDaemon();
    return host;
  }

  /** What it calls its state folder, as the test reaches it. */
  get stateDirectory(): string {
    return `/proc/${this.pid}/root${this.registry.host.stateDirectory}`;
  }

  async startDaemon(...options: string[]): Promise<void> {
    const args = [
      KEMARID,
      '--root',
      this.registry.host.root,
      '--key',
      this.keyFile,
      '--listen',
      `127.0.0.1:${this.address.port}`,
    ];
    this.said.length = 0;
    // /sys/class/net shows the network of the process that mounted /sys, which is not the test's.
    const mounts = ['mount -t sysfs sysfs /sys', this.#stateFileSystem ?? 'true'].join(' && ');
    const inside = ['--mount', 'sh', '-c', `${mounts} && exec "$@"`, 'sh', process.execPath];
    const child = spawn('unshare', [...inside, ...args, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.said.push(line));
    const port = (): string | undefined =>
      this.said.flatMap((line) => /listening on .* port (\d+)$/.exec(line)?.[1] ?? [])[0];
    await waitUntil(() => port() !== undefined || child.exitCode !== null, { timeoutMs: PATIENCE_MS });
    this.address = { host: '127.0.0.1', port: Number(port()) };
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Returns the exit code. */
  async stopDaemon(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    if (child?.exitCode !== null || child.signalCode !== null) return null;
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }

  /** The one domain here. */
  async domain(): Promise<LiveDomain | undefined> {
    return (await this.registry.list())[0];
  }

  async info(): Promise<DomainInfo> {
    return this.ask({ verb: 'info' });
  }

  /** Errors: what the domain's process refuses. */
  async ask<R extends Exclude<ControlRequest, { verb: EventVerb }>>(order: R): Promise<ControlReplies[R['verb']]> {
    const domain = await this.domain();
    if (domain === undefined) throw new Error('there is no domain on the standby');
    return request({ name: domain.name, controlSocket: domain.paths.controlSocket }, order);
  }

  log(name: string): string {
    return spawnSync('cat', [logPath(this.registry.host, name)], { encoding: 'utf8' }).stdout;
  }

  async #remove(): Promise<void> {
    await this.stopDaemon('SIGKILL');
    for (const domain of await this.registry.list()) await this.registry.kill(domain);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A primary without an engine: offers the subject's domain, sends what it is told to, and hears what is said. */
export class PlayedPrimary {
  readonly subject: Subject;
  readonly host: StandbyHost;
  readonly events: SenderEvent[] = [];
  #link: LinkSender | undefined;
  #capture: Capture | undefined;

  constructor(subject: Subject, host: StandbyHost) {
    this.subject = subject;
    this.host = host;
  }

  async offer(change: Partial<Offer> = {}): Promise<Offer> {
    const { config, machine, devices } = this.subject;
    const host = new Registry(join(this.host.folder, 'a')).host;
    new Ownership(host).protect(config, { hostName: 'b', addresses: [] });
    return {
      ...{ kemariVersion: '0.1.0', purpose: 'protect', config, createdAtMs: 1, machine: await machine.describe() },
      ...{ blueprint: null, bootFiles: await hashBootFiles(config), disks: await identifyDisks(config.disks) },
      diskGeometry: devices.slice(0, config.disks.length).map((device) => (device as Disk).geometry),
      ...{ generation: 0, instance: thisInstance(host), addresses: [this.host.address] },
      ...{ policy: 'kemari', failover: 'manual', onSilence: 'hold' },
      ...{ takeoverTimeoutMs: TAKEOVER_TIMEOUT_MS, leaseMs: LEASE_MS },
      ...change,
    };
  }

  /** Errors: those of connectStandby. */
  async connect(offer: Offer): Promise<void> {
    const key = readKey(this.host.keyFile);
    const { config } = this.subject;
    const { address } = this.host;
    const connection = await connectStandby({ address, security: { kind: 'psk', key }, offer });
    const { streamFd, leaseFd, standby } = connection;
    this.#link = new addon.LinkSender({
      ...{ streamFd, leaseFd, key, token: Buffer.from(standby.token, 'hex'), leaseMs: offer.leaseMs },
      ...{ ramBytes: config.memoryBytes, deviceCount: this.subject.devices.length, gate: this.subject.gate },
      onEvent: (event) => this.events.push(event),
    });
    this.#capture = this.subject.capture(this.#link);
    await this.#capture.attach();
  }

  /** One epoch of the running guest, acknowledged. */
  async epoch(epoch: bigint, resume: 'at-once' | 'never' = 'at-once', guestPaused = false): Promise<void> {
    if (epoch === 1n) await this.#capture?.copyRound();
    this.subject.gate.close();
    const result = await this.#capture?.capture(epoch, resume, guestPaused);
    await this.heard((event) => event.type === 'acked' && event.epoch === epoch);
    if (resume === 'at-once') this.subject.gate.release(result?.throughSequence ?? 0n);
  }

  send(word: 'go' | 'goodbye' | 'machine-died'): void {
    this.#link?.send(word);
  }

  async heard(accepts: (event: SenderEvent) => boolean): Promise<void> {
    const found = await waitUntil(() => this.events.some(accepts), { timeoutMs: PATIENCE_MS, everyMs: 1 });
    if (found) return;
    const events = this.events.map((event) => JSON.stringify(event, (_, value: unknown) => String(value)));
    throw new Error(`not heard from the standby; heard was: ${events.join(' ')}\n${this.host.log('subject')}`);
  }

  /** The machine, and the link with it, go as by SIGKILL. */
  async die(): Promise<void> {
    await this.subject.machine.kill();
    await this.#capture?.close();
    await this.#link?.close();
  }
}

/** A process of the standby's host that has ended: what a primary is whose kemarid says so. */
export async function deadInstance(host: StandbyHost): Promise<HostInstance> {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const { instanceOf } = await import('../../../src/host/host-id.js');
  const instance = instanceOf(host.registry.host, child.pid ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  if (instance === undefined) throw new Error('a process that has started is there');
  return instance;
}
