import { typeIntoGuest, waitForGuestConsole } from './guest.js';
import type { NestedNode } from './nested-node.js';

const TIMEOUT_MS = 300_000;

/** test/xen/device-server.ts in a node's dom0, and how a test speaks to it. */
export class ServedDevices {
  readonly #node: NestedNode;
  #lives = 0;
  #commands = 0;

  private constructor(node: NestedNode) {
    this.#node = node;
  }

  /** Installs our hot-plug scripts and starts the server. */
  static async start(node: NestedNode): Promise<ServedDevices> {
    await node.expect('cp /srv/kemari/scripts/xen/*-kemari /etc/xen/scripts/', TIMEOUT_MS);
    const served = new ServedDevices(node);
    await served.#start('');
    return served;
  }

  /** What it holds open of this kind, as paths in /proc have it: a count. */
  async openFiles(patterns: readonly string[]): Promise<number> {
    const matches = patterns.map((pattern) => `-e ${pattern}`).join(' ');
    return Number(
      await this.#node.expect(`ls -l /proc/$(cat ${this.#file('pid')})/fd | grep -c ${matches}; true`, TIMEOUT_MS),
    );
  }

  /** Has it carry out a command; returns what came of it. */
  async command(line: string): Promise<unknown> {
    this.#commands += 1;
    const log = this.#file('log');
    const found = await this.#node.expect(
      `echo '${line}' >${this.#file('in')}; until [ $(grep -c '"done"' ${log}) -ge ${this.#commands} ]; do sleep 0.1; done; ` +
        `grep '"done"' ${log} | tail -n 1`,
      TIMEOUT_MS,
    );
    return (JSON.parse(found) as { result?: unknown }).result;
  }

  /** Kills it, as a host dies with what it serves, and starts another with a cut of its NICs. */
  async replace(cut: string): Promise<void> {
    await this.#node.expect(`kill -KILL $(cat ${this.#file('pid')}) $(cat ${this.#file('keeper')})`, TIMEOUT_MS);
    await this.#start(cut);
  }

  /** Ends it, and waits until it has. */
  async end(): Promise<void> {
    await this.#node.expect(
      `kill $(cat ${this.#file('keeper')}); until grep -q ended ${this.#file('log')}; do sleep 0.1; done`,
      TIMEOUT_MS,
    );
  }

  async #start(argument: string): Promise<void> {
    this.#lives += 1;
    this.#commands = 0;
    const [input, log, pid, keeper] = ['in', 'log', 'pid', 'keeper'].map((name) => this.#file(name));
    await this.#node.expect(
      [
        // Someone keeps the other end open, whoever else writes to it.
        `mkfifo ${input}; sleep infinity >${input} 2>/dev/null & echo $! >${keeper}`,
        `node /srv/kemari/dist/test/xen/device-server.js ${argument} <${input} >${log} 2>&1 & echo $! >${pid}`,
        `until grep -q -s serving ${log}; do kill -0 $(cat ${pid}) || { cat ${log}; exit 1; }; sleep 0.2; done`,
      ].join('\n'),
      TIMEOUT_MS,
    );
  }

  #file(name: string): string {
    return `/tmp/device-server-${this.#lives}.${name}`;
  }
}

/** Runs a line in the guest's shell; returns what stands behind `answer` when it says so, in `$said`. */
export async function runInGuest(node: NestedNode, name: string, line: string, answer: string): Promise<string> {
  // The shell shows what was typed: the word is not in it.
  await typeIntoGuest(node, name, `${line}; echo "${answer[0]!}""${answer.slice(1)} $said"`);
  await waitForGuestConsole(node, name, `^${answer} `);
  const found = await node.expect(`grep -a -m 1 '^${answer} ' /var/log/xen/guest-${name}.log`, TIMEOUT_MS);
  return found.slice(answer.length + 1).trim();
}
