import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { execa } from 'execa';
import { KemariError, messageOf } from '../base/errors.js';
import { waitUntil } from '../base/deadline.js';

/** Where iproute2 keeps the namespaces that it names. */
export const NAMESPACE_FOLDER = '/run/netns';

/** Where the system's own programs are: npm puts others of the same names (nft) before them. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** How long killed processes may take to end; a guest's memory is given back meanwhile. */
const END_TIMEOUT_MS = 10_000;

/** A network namespace with a name (ip-netns(8)): it lives until it is removed, whoever made it. */
export class Namespace {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  get exists(): boolean {
    return statSync(this.path, { throwIfNoEntry: false }) !== undefined;
  }

  /** Errors: `KEMARI_STAGE` with what `ip` said. */
  async add(): Promise<void> {
    await run('ip', ['netns', 'add', this.name]);
  }

  /** Kills what runs inside, then removes it. Nothing happens when it does not exist. Errors: `KEMARI_STAGE`. */
  async remove(): Promise<void> {
    if (!this.exists) return;
    await this.killAll();
    await run('ip', ['netns', 'delete', this.name]);
  }

  /** The command line that runs this one inside, with the namespace's own /sys. */
  command(inner: readonly string[]): [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.name, ...inner];
  }

  /** Runs a program inside and returns what it printed. Errors: `KEMARI_STAGE`. */
  async run(inner: readonly string[], input = ''): Promise<string> {
    const [program, ...args] = this.command(inner);
    return run(program, args, input);
  }

  /** Carries out lines of `ip -batch` inside. Errors: `KEMARI_STAGE`. */
  async ip(lines: readonly string[]): Promise<string> {
    return run('ip', ['-netns', this.name, '-batch', '-'], lines.map((line) => `${line}\n`).join(''));
  }

  /** The processes inside, or those programs, ending ones that have let go of it apart. */
  pids(programs?: readonly string[]): number[] {
    const identity = statSync(this.path, { throwIfNoEntry: false });
    if (identity === undefined) return [];
    const wanted = `net:[${identity.ino}]`;
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry) && networkOf(entry) === wanted)
      .map(Number)
      .filter((pid) => programs === undefined || programs.includes(programOf(pid)));
  }

  /** Sends SIGKILL to all that runs inside, or to those programs; returns to how many. They may still be ending. */
  killNow(programs?: readonly string[]): number {
    const pids = this.pids(programs);
    for (const pid of pids) sendSignal(pid, 'SIGKILL');
    return pids.length;
  }

  /** Kills what runs inside, or those programs, and what it starts meanwhile, until nothing is left. Errors: `KEMARI_STAGE`. */
  async killAll(programs?: readonly string[]): Promise<void> {
    if (await waitUntil(() => this.killNow(programs) === 0, { timeoutMs: END_TIMEOUT_MS, everyMs: 5 })) return;
    throw new KemariError('KEMARI_STAGE', `killed processes do not end: ${this.pids().join(' ')}`);
  }

  /** As of setns(2). */
  get path(): string {
    return `${NAMESPACE_FOLDER}/${this.name}`;
  }
}

/** A process that has ended meanwhile is passed over. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Its name, as ps(1) has it; empty for one that has ended. */
function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Empty for a process that has let go of its namespaces. */
function networkOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return ''; // it has ended
  }
}

async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  try {
    return (await execa(program, args, { input, env: { PATH: SYSTEM_PATH } })).stdout;
  } catch (error) {
    throw new KemariError('KEMARI_STAGE', `cannot set two hosts up: ${messageOf(error)}`, { cause: error });
  }
}
