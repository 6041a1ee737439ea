import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import type { Undo } from './undo.js';

/** Set in the process that already runs in namespaces of its own. */
const INSIDE = 'KEMARI_BENCH_INSIDE';

/** The bridge that every guest's NIC is put on. The name is free: nothing else lives in this network namespace. */
export const BRIDGE = 'bench0';
export const HOST_ADDRESS = '10.78.0.1';
export const CLIENT_ADDRESS = '10.78.0.2';
export const NETMASK = '255.255.255.0';
const PREFIX_BITS = 24;
const FIRST_GUEST = 10;

/** The address of the guest with this number, from 0. */
export function guestAddress(number: number): string {
  return `10.78.0.${FIRST_GUEST + number}`;
}

/**
 * Runs this program again in network and mount namespaces of its own and returns its exit code; undefined in the inner
 * process. Bridge, taps and addresses then exist for nobody else and end with the last process inside, however it ends.
 */
export async function enterPrivateNetwork(): Promise<number | undefined> {
  if (process.env[INSIDE] !== undefined) return undefined;
  // /sys shows the network of the process that mounted it.
  const script = 'mount -t sysfs sysfs /sys && exec "$@"';
  const command = [
    '--net',
    '--mount',
    'sh',
    '-c',
    script,
    'sh',
    process.execPath,
    ...process.execArgv,
    ...process.argv.slice(1),
  ];
  const inner = spawn('unshare', command, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => inner.kill(signal));
  const [code] = (await once(inner, 'exit')) as [number | null];
  return code ?? 1;
}

/** A network namespace with one leg on the bridge, where the clients of the guests run. */
export class ClientNamespace {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  /** Makes the bridge, with an address of ours for the guests' control, and the client's namespace on it. */
  static async create(undo: Undo): Promise<ClientNamespace> {
    await ip('link', 'set', 'lo', 'up');
    await ip('link', 'add', BRIDGE, 'type', 'bridge');
    undo.defer('bridge', () => ip('link', 'delete', BRIDGE));
    await ip('address', 'add', `${HOST_ADDRESS}/${PREFIX_BITS}`, 'dev', BRIDGE);
    await ip('link', 'set', BRIDGE, 'up');

    const client = new ClientNamespace(await namespaceHolder(undo));
    await ip('link', 'add', 'bench1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(client.#holder.pid));
    await ip('link', 'set', 'bench1', 'master', BRIDGE, 'up');
    await client.run('ip', ['address', 'add', `${CLIENT_ADDRESS}/${PREFIX_BITS}`, 'dev', 'eth0']);
    await client.run('ip', ['link', 'set', 'eth0', 'up']);
    return client;
  }

  /** Runs a program there and returns what it printed. Errors: execa's. */
  async run(program: string, args: readonly string[], timeoutMs = 60_000): Promise<string> {
    const { stdout } = await execa('nsenter', [...this.#enter(), program, ...args], { timeout: timeoutMs });
    return stdout;
  }

  /** Starts a program there that ends with the benchmark. */
  start(program: string, args: readonly string[], undo: Undo): void {
    const child = spawn('nsenter', [...this.#enter(), program, ...args], { stdio: 'ignore' });
    undo.defer(program, () => child.kill());
  }

  #enter(): string[] {
    return [`--target=${this.#holder.pid}`, '--net', '--'];
  }
}

/** A process that does nothing but keep a network namespace; it says when it is in there. */
async function namespaceHolder(undo: Undo): Promise<ChildProcess> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  undo.defer('client namespace', () => holder.kill());
  await once(holder.stdout, 'data');
  return holder;
}

async function ip(...args: string[]): Promise<void> {
  await execa('ip', args);
}
