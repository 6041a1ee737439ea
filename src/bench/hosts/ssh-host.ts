import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { waitUntil } from '../../base/deadline.js';
import { KemariError, messageOf } from '../../base/errors.js';
import type { PeerHost } from '../peer-guest.js';
import type { Undo } from '../undo.js';

const CONNECT_TIMEOUT_MS = 20_000;
const COMMAND_TIMEOUT_MS = 120_000;

/** A machine that ssh(1) reaches without asking anybody, as root. Its commands share one connection. */
export class SshHost implements PeerHost {
  /** As ssh takes it: `[user@]host`, or a name of its configuration. */
  readonly destination: string;
  readonly #ssh: readonly string[];

  private constructor(destination: string, ssh: readonly string[]) {
    this.destination = destination;
    this.#ssh = ssh;
  }

  /**
   * Connects. `ssh`: the program with options of its own; `folder`: for the connection's socket; `farewell`: what a shell there
   * does when the connection ends. That is when this process does, however it ends.
   *
   * Errors: `KEMARI_BENCH_HOST` with what ssh said.
   */
  static async connect(
    destination: string,
    { ssh, folder, farewell }: { readonly ssh: readonly string[]; readonly folder: string; readonly farewell: string },
    undo: Undo,
  ): Promise<SshHost> {
    const [program = 'ssh', ...own] = ssh;
    const shared = ['-o', 'BatchMode=yes', '-o', `ControlPath=${join(folder, '%C')}`];
    // `cat` ends when nobody is left to write to it.
    const wait = `trap '' HUP TERM; cat >/dev/null; { ${farewell}; } >/dev/null 2>&1`;
    const master = spawn(program, [...own, ...shared, '-o', 'ControlMaster=yes', destination, wait], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    const said: string[] = [];
    master.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
    // A program that cannot be started has no process id.
    master.once('error', (error) => said.push(error.message));
    master.stdin.on('error', () => undefined); // It ended.
    undo.defer(`the connection to ${destination}`, () => master.kill());
    const host = new SshHost(destination, [program, ...own, ...shared, '-o', 'ControlMaster=no']);
    let isClosed = false; // And all that it said is here.
    master.once('close', () => (isClosed = true));
    const ended = (): boolean => master.pid === undefined || isClosed;
    const isUp = async (): Promise<boolean> => ended() || (await host.#shares());
    if ((await waitUntil(isUp, { timeoutMs: CONNECT_TIMEOUT_MS })) && !ended()) return host;
    throw new KemariError(
      'KEMARI_BENCH_HOST',
      `ssh does not reach ${destination}: ${said.join('').trim() || `no answer after ${CONNECT_TIMEOUT_MS} ms`}; ` +
        `it must, as root and without a password (try: ${ssh.join(' ')} ${destination} true)`,
    );
  }

  /** Its host name or address alone. */
  get address(): string {
    return this.destination.slice(this.destination.lastIndexOf('@') + 1);
  }

  /** The command line that runs this one there. */
  command(inner: readonly string[]): [string, ...string[]] {
    const [program = 'ssh', ...options] = this.#ssh;
    return [program, ...options, this.destination, inner.map(quoted).join(' ')];
  }

  /** Runs a program there and returns what it printed. Errors: `KEMARI_BENCH_HOST` with what it said. */
  async run(inner: readonly string[], timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
    const [program, ...args] = this.command(inner);
    const { exitCode, stdout, stderr, timedOut } = await execa(program, args, {
      ...{ stdin: 'ignore', timeout: timeoutMs, reject: false },
    });
    if (exitCode === 0) return stdout;
    const what = timedOut ? `no answer after ${timeoutMs} ms` : stderr.trim();
    throw new KemariError('KEMARI_BENCH_HOST', `on ${this.destination}: ${inner.join(' ')}: ${what}`);
  }

  /** Copies a file of this machine to a path there. Errors: `KEMARI_BENCH_HOST`. */
  async send(file: string, path: string): Promise<void> {
    const [program, ...args] = this.command(['sh', '-c', 'cat >"$1"', 'sh', path]);
    try {
      await execa(program, args, { input: createReadStream(file), timeout: COMMAND_TIMEOUT_MS });
    } catch (error) {
      const text = `cannot copy ${file} to ${this.destination}: ${messageOf(error)}`;
      throw new KemariError('KEMARI_BENCH_HOST', text, { cause: error });
    }
  }

  async #shares(): Promise<boolean> {
    const [program = 'ssh', ...options] = this.#ssh;
    const { exitCode } = await execa(program, [...options, '-O', 'check', this.destination], { reject: false });
    return exitCode === 0;
  }
}

/** As one word of a POSIX shell. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
