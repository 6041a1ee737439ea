import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { KemariError } from '../../base/errors.js';
import { GuestShell } from '../../stage/guest-shell.js';
import type { EpochFigures } from '../ledger.js';
import type { Subject } from '../subject.js';
import type { Undo } from '../undo.js';
import { PEER_DONE, type PEER_ORDERS, type PeerOrder } from './peer-order.js';
import type { SshHost } from './ssh-host.js';

/** The unprotected guest with QEMU's own devices, on a host that ssh reaches: kemari's own program runs it there. */
export class PlainOnHost implements Subject {
  readonly shell: GuestShell;
  readonly #runner: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #answers: AsyncIterator<string>;
  readonly #said: string[] = [];

  private constructor(host: SshHost, address: string) {
    this.shell = new GuestShell(address, (command) => command);
    const [program, ...args] = host.command(['kemari', 'bench-peer']);
    this.#runner = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#runner.stderr.setEncoding('utf8').on('data', (text: string) => this.#said.push(text));
    this.#runner.stdin.on('error', () => undefined); // It ended, and says why.
    this.#answers = createInterface({ input: this.#runner.stdout })[Symbol.asyncIterator]();
  }

  /** It is up, and stands still, when this resolves. Errors: `KEMARI_BENCH_QEMU` with what the host said. */
  static async boot(host: SshHost, order: PeerOrder, address: string, undo: Undo): Promise<PlainOnHost> {
    const plain = new PlainOnHost(host, address);
    undo.defer(`the guest without kemari on ${host.destination}`, () => plain.#end());
    await plain.#ask(JSON.stringify(order));
    await plain.leave();
    return plain;
  }

  enter(): Promise<void> {
    return this.#order('thaw');
  }

  epochs(): Promise<EpochFigures | undefined> {
    return Promise.resolve(undefined);
  }

  leave(): Promise<void> {
    return this.#order('freeze');
  }

  #order(order: (typeof PEER_ORDERS)[number]): Promise<void> {
    return this.#ask(order);
  }

  async #ask(line: string): Promise<void> {
    this.#runner.stdin.write(`${line}\n`);
    const answer: IteratorResult<string, unknown> = await this.#answers.next();
    if (answer.value === PEER_DONE) return;
    throw new KemariError('KEMARI_BENCH_QEMU', `the guest without kemari: ${this.#said.join('').trim()}`);
  }

  /** Its runner takes everything down before it ends. */
  async #end(): Promise<void> {
    const ended = new Promise((resolve) => this.#runner.once('exit', resolve));
    if (this.#runner.exitCode !== null || this.#runner.signalCode !== null) return;
    this.#runner.stdin.end();
    await ended;
  }
}
