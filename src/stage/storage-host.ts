import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { Namespace } from './namespace.js';
import { STORAGE_ADDRESS } from './topology.js';

/** NBD's own port: a URI needs none. */
const NBD_PORT = 10809;

/** What serves disks: whoever looks at what comes to them stays. */
const SERVERS = ['nbd-server', 'nbdkit'];

const START_TIMEOUT_MS = 10_000;

/** A disk that storage exports: a raw image. */
export interface ExportedDisk {
  /** Of the export: letters, digits, - and _. */
  readonly name: string;
  readonly image: string;
  /** Its image lies in a file system of its own that has so much room, and goes with the server. */
  readonly room?: SmallRoom;
}

/** A file system that storage does not have enough of. */
export interface SmallRoom {
  readonly folder: string;
  readonly roomBytes: number;
  /** Of the image, which is sparse. */
  readonly sizeBytes: number;
}

/** How storage misbehaves; everything after `nbdkit file IMAGE`, with the filters before it. */
export interface StorageFault {
  /** nbdkit's filters (nbdkit-delay-filter(1) and others), outermost first. */
  readonly filters: readonly string[];
  /** Their parameters: `delay-write=50ms`. */
  readonly parameters: readonly string[];
}

/**
 * The third machine, which outlives both hosts: an NBD server with raw images. nbd-server has one process for each
 * connection, so a fence can end those of one host; with a fault nbdkit serves, one disk only.
 */
export class StorageHost {
  readonly #namespace: Namespace;
  readonly #directory: string;

  constructor(namespace: Namespace, directory: string) {
    this.#namespace = namespace;
    this.#directory = directory;
  }

  /** The URI of an export, for the domain file. */
  static uri(name: string): string {
    return `nbd://${STORAGE_ADDRESS}/${name}`;
  }

  /** Copies an image, sparse, to where it will be exported. The copying is this machine's: it ends with it. Errors: `KEMARI_STAGE`. */
  async copyImage(name: string, from: string): Promise<ExportedDisk> {
    const image = join(this.#directory, `${name}.img`);
    await mkdir(this.#directory, { recursive: true });
    await this.#namespace.run(['cp', '--sparse=always', from, image]);
    return { name, image };
  }

  /** Makes an empty image. */
  async emptyImage(name: string, sizeBytes: number): Promise<ExportedDisk> {
    const image = join(this.#directory, `${name}.img`);
    await mkdir(this.#directory, { recursive: true });
    await execa('truncate', [`--size=${sizeBytes}`, image]);
    return { name, image };
  }

  /** Makes an empty image that there is no room for, once it is written to. */
  async smallImage(name: string, sizeBytes: number, roomBytes: number): Promise<ExportedDisk> {
    const folder = join(this.#directory, name);
    await mkdir(folder, { recursive: true });
    return { name, image: join(folder, 'image'), room: { folder, roomBytes, sizeBytes } };
  }

  /** Gives the file system of such a disk, as it is served now, more room. Errors: `KEMARI_STAGE`. */
  async enlarge({ room }: ExportedDisk, roomBytes: number): Promise<void> {
    const server = this.#namespace.pids(SERVERS)[0] ?? 0;
    const mount = ['mount', '-o', `remount,size=${roomBytes}`, room?.folder ?? ''];
    await this.#namespace.run(['nsenter', `--mount=/proc/${server}/ns/mnt`, ...mount]);
  }

  /** Serves these disks from now on, and no others. Errors: `KEMARI_STAGE` when the server does not start to listen. */
  async serve(disks: readonly ExportedDisk[], fault?: StorageFault): Promise<void> {
    await this.stop();
    const command = fault === undefined ? await this.#nbdServer(disks) : nbdkit(disks, fault);
    const [program, ...args] = this.#namespace.command(inRoom(command, disks));
    const said: string[] = [];
    // Not execa: the server outlives this process where the stage does.
    const launcher = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    launcher.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    // A program that cannot be started has no process id.
    launcher.once('error', (error) => said.push(error.message));
    const failed = (): boolean => launcher.pid === undefined || (launcher.exitCode ?? 0) !== 0;
    const listens = await waitUntil(async () => failed() || (await this.#listens()), { timeoutMs: START_TIMEOUT_MS });
    if (!listens || failed()) {
      await this.stop();
      throw new KemariError('KEMARI_STAGE', `storage does not listen: ${command.join(' ')}: ${said.join('').trim()}`);
    }
    launcher.stderr.destroy();
    launcher.unref();
  }

  /** Ends the server and all that serve its connections, at once: as a storage host that dies. Idempotent. */
  async stop(): Promise<void> {
    await this.#namespace.killAll(SERVERS);
  }

  async #nbdServer(disks: readonly ExportedDisk[]): Promise<string[]> {
    const file = join(this.#directory, 'nbd-server.conf');
    const exports = disks.map(({ name, image }) =>
      [`[${name}]`, `exportname = ${image}`, 'flush = true', 'fua = true', 'trim = true'].join('\n'),
    );
    await writeFile(file, `[generic]\nlistenaddr = ${STORAGE_ADDRESS}\nport = ${NBD_PORT}\n${exports.join('\n')}\n`);
    return ['nbd-server', '-C', file];
  }

  async #listens(): Promise<boolean> {
    return (await this.#namespace.run(['ss', '-Htln', `src :${NBD_PORT}`])) !== '';
  }
}

/** The command with the small file systems that the disks lie in, in a mount namespace of its own. */
function inRoom(command: readonly string[], disks: readonly ExportedDisk[]): readonly string[] {
  const rooms = disks.flatMap(({ room, image }) => (room === undefined ? [] : [{ ...room, image }]));
  if (rooms.length === 0) return command;
  const making = rooms.map(({ folder, image, roomBytes, sizeBytes }) => {
    return `mount -t tmpfs -o size=${roomBytes} tmpfs '${folder}' && truncate --size=${sizeBytes} '${image}' && `;
  });
  return ['unshare', '--mount', 'sh', '-c', `${making.join('')}exec "$@"`, 'sh', ...command];
}

function nbdkit(disks: readonly ExportedDisk[], fault: StorageFault): string[] {
  const [disk, ...others] = disks;
  if (disk === undefined || others.length > 0) throw new RangeError('storage with a fault serves one disk');
  return [
    ...['nbdkit', '--foreground', '--ipaddr', STORAGE_ADDRESS, '--port', String(NBD_PORT)],
    ...['--export-name', disk.name],
    ...fault.filters.map((filter) => `--filter=${filter}`),
    ...['file', disk.image, ...fault.parameters],
  ];
}
