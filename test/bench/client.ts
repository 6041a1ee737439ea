import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { enterNamespaceOf, PrivateNetwork } from '../../src/stage/private-network.js';
import type { Undo } from '../../src/bench/undo.js';

/** Set in the process that already runs inside the private network: the process that keeps the client's namespace. */
const CLIENT_PID = 'KEMARI_BENCH_CLIENT';

/**
 * Runs this program again where the bridge of a private network is, and returns its exit code; undefined in the inner
 * process. Bridge, taps and addresses then exist for nobody else and end with the last process inside, however it ends.
 */
export async function enterPrivateNetwork(): Promise<number | undefined> {
  if (process.env[CLIENT_PID] !== undefined) return undefined;
  const network = await PrivateNetwork.create();
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  // Entering the mount namespace leaves the working directory behind.
  const script = 'cd "$0" && exec "$@"';
  const [program, ...args] = network.inside(['sh', '-c', script, process.cwd(), ...self]);
  const inner = spawn(program, args, {
    stdio: 'inherit',
    env: { ...process.env, [CLIENT_PID]: String(network.clientPid) },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => inner.kill(signal));
  const [code] = (await once(inner, 'exit')) as [number | null];
  await network.close();
  return code ?? 1;
}

/** Where the clients of the guests run. */
export class Client {
  readonly #pid: number;

  private constructor(pid: number) {
    this.#pid = pid;
  }

  /** The one of the network that this process runs in. */
  static adopt(): Client {
    return new Client(Number(process.env[CLIENT_PID]));
  }

  /** The command line that runs this one there. */
  enter(command: readonly string[]): [string, ...string[]] {
    return enterNamespaceOf(this.#pid, command);
  }

  /** Runs a program there and returns what it printed. Errors: execa's. */
  async run(program: string, args: readonly string[], timeoutMs = 60_000): Promise<string> {
    const [first, ...rest] = this.enter([program, ...args]);
    return (await execa(first, rest, { timeout: timeoutMs })).stdout;
  }

  /** Starts a program there that ends with the benchmark. */
  start(program: string, args: readonly string[], undo: Undo): void {
    const [first, ...rest] = this.enter([program, ...args]);
    const child = spawn(first, rest, { stdio: 'ignore' });
    undo.defer(program, () => child.kill());
  }
}
