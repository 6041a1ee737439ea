import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** Character devices (null(4), random(4)) that the programs want: name, major, minor. */
const DEVICES = [
  ['null', '1', '3'],
  ['zero', '1', '5'],
  ['urandom', '1', '9'],
] as const;

/**
 * The guest's own userland, unpacked for the client: what asks (netperf, redis-benchmark) is of the same version as what answers, on
 * whatever host.
 */
export class ClientRoot {
  readonly #folder: string;
  readonly #inside: (command: readonly string[]) => readonly string[];

  private constructor(folder: string, inside: (command: readonly string[]) => readonly string[]) {
    this.#folder = folder;
    this.#inside = inside;
  }

  /** Unpacks an ext4 image into a folder. `inside` makes the command line that runs another one where the client is. */
  static async unpack(
    image: string,
    into: string,
    inside: (command: readonly string[]) => readonly string[],
  ): Promise<ClientRoot> {
    const folder = join(into, 'client');
    await mkdir(folder, { recursive: true });
    // Devices and owners are not to be had this way; nothing needs them but what follows.
    await execa('debugfs', ['-R', `rdump / ${folder}`, image]);
    for (const [name, major, minor] of DEVICES) {
      const path = join(folder, 'dev', name);
      await execa('rm', ['-f', path]);
      await execa('mknod', ['-m', '666', path, 'c', major, minor]);
    }
    return new ClientRoot(folder, inside);
  }

  /** Runs a program on the client and returns what it printed. Errors: execa's, with what the program said. */
  async run(command: readonly string[], timeoutMs: number): Promise<string> {
    const [program = '', ...args] = this.#inside(['chroot', this.#folder, ...command]);
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    return (await execa(program, args, { timeout: timeoutMs, env, stdin: 'ignore' })).stdout;
  }
}
