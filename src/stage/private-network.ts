import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { KemariError, messageOf } from '../base/errors.js';

/** Names and addresses within a private network: nobody else sees them, so every network has the same. */
export const PRIVATE_BRIDGE = 'kembr0';
export const CLIENT_ADDRESS = '10.77.0.1';
/** The guests' addresses start here: `guestAddress(0)`. */
const FIRST_GUEST = 2;
const LAST_GUEST = 254;
export const PREFIX_BITS = 24;
export const NETMASK = '255.255.255.0';

const CLIENT_LEG = 'kemveth0';
const CLIENT_DEVICE = 'eth0';

/** The address of the guest with this number, from 0, of at most 253 guests. */
export function guestAddress(number: number): string {
  const last = FIRST_GUEST + number;
  if (last > LAST_GUEST) throw new RangeError(`a private network has no place for guest ${number}`);
  return `10.77.0.${last}`;
}

/**
 * A network for guests and one client of theirs, apart from the host's own: a bridge in one network namespace, the
 * client in another, a veth pair between them. A domain that is created inside (`inside`) finds the bridge.
 *
 * Each namespace is held by a process that ends with this one, however this one ends; the kernel then takes bridge,
 * veth pair and addresses down. A domain inside keeps the bridge's namespace for as long as it lives.
 */
export class PrivateNetwork {
  readonly #host: NamespaceHolder;
  readonly #client: NamespaceHolder;

  private constructor(host: NamespaceHolder, client: NamespaceHolder) {
    this.#host = host;
    this.#client = client;
  }

  /** Errors: `KEMARI_PRIVATE_NETWORK` with what the failed command printed; nothing is left then. */
  static async create(): Promise<PrivateNetwork> {
    const holders: NamespaceHolder[] = [];
    try {
      for (let count = 0; count < 2; count += 1) holders.push(await NamespaceHolder.start());
      const [host, client] = holders as [NamespaceHolder, NamespaceHolder];
      await host.ip('link', 'set', 'lo', 'up');
      await host.ip('link', 'add', PRIVATE_BRIDGE, 'type', 'bridge');
      await host.ip('link', 'set', PRIVATE_BRIDGE, 'up');
      const peer = ['peer', 'name', CLIENT_DEVICE, 'netns', String(client.pid)];
      await host.ip('link', 'add', CLIENT_LEG, 'type', 'veth', ...peer);
      await host.ip('link', 'set', CLIENT_LEG, 'master', PRIVATE_BRIDGE, 'up');
      await client.ip('link', 'set', 'lo', 'up');
      await client.ip('address', 'add', `${CLIENT_ADDRESS}/${PREFIX_BITS}`, 'dev', CLIENT_DEVICE);
      await client.ip('link', 'set', CLIENT_DEVICE, 'up');
      return new PrivateNetwork(host, client);
    } catch (error) {
      await Promise.all(holders.map((holder) => holder.end()));
      if (error instanceof KemariError) throw error;
      throw new KemariError('KEMARI_PRIVATE_NETWORK', `cannot make a private network: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** The command line that runs this one where the bridge is. It starts in `/`, as it enters a mount namespace too. */
  inside(command: readonly string[]): [string, ...string[]] {
    return this.#host.enter(command);
  }

  /** The command line that runs this one as the client. */
  asClient(command: readonly string[]): [string, ...string[]] {
    return this.#client.enter(command);
  }

  /** The process that keeps the client's namespace: who runs inside can enter it by this (`enterNamespaceOf`). */
  get clientPid(): number {
    return this.#client.pid;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#host.end(), this.#client.end()]);
  }
}

/** The command line that runs this one in the network and mount namespaces of a process. */
export function enterNamespaceOf(pid: number, command: readonly string[]): [string, ...string[]] {
  return ['nsenter', `--target=${pid}`, '--net', '--mount', '--', ...command];
}

/** A process that only keeps a network namespace: it reads a pipe of ours, which ends when we do. */
class NamespaceHolder {
  readonly pid: number;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, pid: number) {
    this.#process = process;
    this.pid = pid;
  }

  static async start(): Promise<NamespaceHolder> {
    // A group of its own: a Ctrl-C that this process handles must not take the network from under it. /sys/class/net
    // shows the network of the process that mounted /sys. The shell speaks when all is done.
    const script = 'mount -t sysfs sysfs /sys && echo in && exec cat >/dev/null';
    const holder = spawn('unshare', ['--net', '--mount', 'sh', '-c', script], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    const said: string[] = [];
    holder.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const failed = once(holder, 'exit').then(() => {
      throw new KemariError('KEMARI_PRIVATE_NETWORK', `cannot make a network namespace: ${said.join('').trim()}`);
    });
    await Promise.race([once(holder.stdout, 'data'), failed]);
    // From here on its end is ours to ask for.
    failed.catch(() => undefined);
    return new NamespaceHolder(holder, holder.pid ?? 0);
  }

  enter(command: readonly string[]): [string, ...string[]] {
    return enterNamespaceOf(this.pid, command);
  }

  async ip(...args: string[]): Promise<void> {
    const [program, ...rest] = this.enter(['ip', ...args]);
    await execa(program, rest);
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}
