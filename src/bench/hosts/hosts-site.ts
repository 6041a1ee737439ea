import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { stringify } from 'smol-toml';
import { KemariError } from '../../base/errors.js';
import { HOST_NAMES } from '../../stage/names.js';
import type { GuestImage } from '../../stage/staged-guest.js';
import { KEMARI_PROTECTIONS, UNPROTECTED } from '../catalogue.js';
import { ClientRoot } from '../client-root.js';
import { KemariGuest } from '../kemari-guest.js';
import { MACHINE, SERVICES, type GuestShape, type Site } from '../site.js';
import type { Subject } from '../subject.js';
import type { Undo } from '../undo.js';
import { connectHosts, type ConnectedHosts, type HostsOptions } from './connect.js';
import { serveDisks } from './disk-server.js';
import { HostsGuest } from './hosts-guest.js';
import { PlainOnHost } from './plain-on-host.js';
import type { SshHost } from './ssh-host.js';

/** What can be measured on machines of others: no peer that wants a QEMU of its own on both, no other kemarid than theirs. */
export const PROTECTIONS_ON_HOSTS: readonly string[] = [
  UNPROTECTED,
  ...Object.keys(KEMARI_PROTECTIONS).filter((name) => !name.endsWith('-plain')),
];
/** Their link is as it is. */
export const LINKS_OF_HOSTS: readonly string[] = ['free'];

const BOOT_TIMEOUT_MS = 300_000;
const MACS = { kemari: '00:16:3e:77:02:02', plain: '00:16:3e:77:02:03' } as const;

/** Two machines that ssh reaches; this one is the client, and their guests' storage. Their link is as it is. */
export class HostsSite implements Site {
  readonly #options: HostsOptions;
  readonly #image: GuestImage;
  readonly #shape: GuestShape;
  readonly #undo: Undo;
  #client: ClientRoot | undefined;

  constructor(options: HostsOptions, image: GuestImage, shape: GuestShape, undo: Undo) {
    this.#options = options;
    this.#image = image;
    this.#shape = shape;
    this.#undo = undo;
  }

  lay(): Promise<void> {
    return Promise.resolve();
  }

  async boot(protections: readonly string[], say: (text: string) => void): Promise<(protection: string) => Subject> {
    const folder = await ownFolder();
    this.#undo.defer(folder, () => rm(folder, { recursive: true, force: true }));
    // The standby boots nothing, but looks at what the domain is made from.
    const name = basename(folder);
    const domain = { name, there: `/var/tmp/${name}` };
    const farewell = `kemari destroy ${name}; rm -rf ${domain.there}`;
    say('the hosts are asked');
    const hosts = await connectHosts(this.#options, { folder, farewell }, this.#undo);
    say('the client unpacks its programs');
    this.#client = await ClientRoot.unpack(this.#image.rootDisk, folder, (command) => command);
    const disks = ['kemari', 'plain'].map((name) => join(folder, `${name}.img`));
    for (const disk of disks) await execa('cp', ['--sparse=always', this.#image.rootDisk, disk]);
    const [ours = '', plains = ''] = await serveDisks(hosts.thisMachine, disks, this.#undo);
    say('the guests boot');
    const guest = await this.#bootServed(hosts, ours, { ...domain, folder });
    const { config, accel, dmPid, qemuPid = dmPid } = await guest.info('A');
    // What stands still ends late.
    this.#undo.defer('the guest', () => guest.thaw([dmPid, qemuPid]));
    const kemari = await KemariGuest.adopt(guest);
    if (!protections.includes(UNPROTECTED)) return () => kemari;
    const [, address] = this.#options.addresses;
    const { bridge } = this.#options;
    const network = hosts.networkOf(address);
    const place = { name: 'plain', disk: plains, network, bridge, mac: MACS.plain, tap: `kb${process.pid}` };
    const order = { like: { config, accel }, services: SERVICES, ...place };
    const plain = await PlainOnHost.boot(hosts.hosts.A, order, address, this.#undo);
    return (protection) => (protection === UNPROTECTED ? plain : kemari);
  }

  /** Creates kemari's guest on host A, and waits until it answers. */
  async #bootServed(
    { hosts, networkOf }: ConnectedHosts,
    disk: string,
    { name, there, folder }: { readonly name: string; readonly there: string; readonly folder: string },
  ): Promise<HostsGuest> {
    const { bridge, addresses, standby } = this.#options;
    const [address] = addresses;
    const at = (file: string): string => `${there}/${basename(file)}`;
    const { kernel, ramdisk } = this.#image;
    for (const host of HOST_NAMES.map((each) => hosts[each])) {
      this.#undo.defer(`${there} on ${host.destination}`, () => host.run(['rm', '-rf', there]));
      await host.run(['mkdir', '-p', '-m', '700', there]);
      for (const file of [kernel, ramdisk]) await host.send(file, at(file));
    }
    const domain = {
      ...{ name, machine: MACHINE, vcpus: this.#shape.vcpus, memory: this.#shape.memoryMib },
      ...{ kernel: at(kernel), ramdisk: at(ramdisk) },
      cmdline: `console=ttyS0 quiet root=/dev/vda kemari.run=${SERVICES} ip=${networkOf(address)}`,
      disk: [`format=raw, vdev=xvda, access=rw, target=${disk}`],
      vif: [`mac=${MACS.kemari}, bridge=${bridge}`],
    };
    const file = join(folder, `${name}.toml`);
    await writeFile(file, stringify(domain));
    await hosts.A.send(file, at(file));
    this.#undo.defer(`domain ${name}`, () => destroyAt(hosts.A, name));
    await hosts.A.run(['kemari', 'create', at(file)]);
    const guest = new HostsGuest({ hosts, name, address, standby: standby ?? hosts.B.address });
    await guest.shell.waitUntilUp(BOOT_TIMEOUT_MS);
    return guest;
  }

  async client(command: readonly string[], timeoutMs: number): Promise<string> {
    if (this.#client === undefined) throw new TypeError('nothing has booted');
    return this.#client.run(command, timeoutMs);
  }
}

const FOLDER = 'kemari-hosts-';

/** For the disks and what else a run needs; those of runs that were killed go. */
async function ownFolder(): Promise<string> {
  for (const entry of await readdir(tmpdir())) {
    const owner = entry.startsWith(FOLDER) ? Number.parseInt(entry.slice(FOLDER.length)) : undefined;
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await rm(join(tmpdir(), entry), { recursive: true });
  }
  return mkdtemp(join(tmpdir(), `${FOLDER}${process.pid}-`));
}

/** It may be gone, and with it its standby goes. */
async function destroyAt(host: SshHost, name: string): Promise<void> {
  try {
    await host.run(['kemari', 'destroy', name]);
  } catch (error) {
    if (!(error instanceof KemariError && error.message.includes('KEMARI_NO_SUCH_DOMAIN'))) throw error;
  }
}
