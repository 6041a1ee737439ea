import { connect, type Socket } from 'node:net';
import type { KeyedOperation } from './key-value-load.js';
import { nowMs } from '../../../src/stage/wall-clock.js';
import { Seeded } from './seeded.js';

/**
 * The program at the client: several connections with the guest's Redis for as long as the standard input stays open, each
 * with one operation at a time on keys that all share. Each operation is a line of JSON on the standard output: when it was
 * answered, or at the end without an answer.
 *
 * usage: key-value-program ADDRESS CLIENTS PREFIX SEED
 */

const PORT = 6379;
const REGISTERS = 3;
const COUNTERS = 1;
const THINK_MS = { low: 5, high: 40 } as const;

const [address = '', clients = '', prefix = '', seed = ''] = process.argv.slice(2);

let stopping = false;
let open = 0;
let lastValue = 0;

function tell(operation: KeyedOperation): void {
  process.stdout.write(`${JSON.stringify(operation)}\n`);
}

class Client {
  readonly #socket: Socket;
  readonly #random: Seeded;
  #unread = '';
  #asked: KeyedOperation | undefined;

  constructor(number: number) {
    this.#random = new Seeded(Number(seed) + number);
    this.#socket = connect({ host: address, port: PORT, noDelay: true });
    this.#socket.on('connect', () => {
      this.#ask();
    });
    this.#socket.on('data', (chunk) => {
      this.#unread += chunk.toString('latin1');
      this.#answer();
    });
    this.#socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
    this.#socket.on('close', () => {
      if (this.#asked !== undefined) tell(this.#asked);
      open -= 1;
      if (open === 0) process.exit(0);
    });
    open += 1;
  }

  finish(): void {
    if (this.#asked === undefined) this.#socket.end();
  }

  giveUp(): void {
    this.#socket.destroy();
  }

  #ask(): void {
    if (stopping) {
      this.#socket.end();
      return;
    }
    const calledAtMs = nowMs();
    const common = { calledAtMs, answeredAtMs: undefined };
    const register = `${prefix}r${this.#random.between(1, REGISTERS)}`;
    const dice = this.#random.next();
    if (dice < 0.35) {
      const value = (lastValue += 1);
      this.#asked = { key: register, operation: { ...common, kind: 'set', value } };
      this.#send('SET', register, String(value));
    } else if (dice < 0.75) {
      this.#asked = { key: register, operation: { ...common, kind: 'get', result: undefined } };
      this.#send('GET', register);
    } else {
      const counter = `${prefix}c${this.#random.between(1, COUNTERS)}`;
      this.#asked = { key: counter, operation: { ...common, kind: 'increment', result: undefined } };
      this.#send('INCR', counter);
    }
  }

  #send(...words: string[]): void {
    this.#socket.write(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`);
  }

  /** RESP: `+OK`, `:NUMBER`, `$-1`, or `$LENGTH` and a line of its own. */
  #answer(): void {
    const found = /^(?:\+OK|:(-?\d+)|\$-1|\$\d+\r\n(-?\d+))\r\n/.exec(this.#unread);
    if (found === null) {
      if (/^-.*\r\n/.test(this.#unread)) this.#socket.destroy(new Error(`Redis says ${this.#unread.trim()}`));
      return;
    }
    this.#unread = this.#unread.slice(found[0].length);
    const asked = this.#asked;
    if (asked === undefined) {
      this.#socket.destroy(new Error('Redis answers what nobody asked'));
      return;
    }
    const text = found[1] ?? found[2];
    const answeredAtMs = nowMs();
    const { key, operation } = asked;
    if (operation.kind === 'set') tell({ key, operation: { ...operation, answeredAtMs } });
    else if (operation.kind === 'increment')
      tell({ key, operation: { ...operation, answeredAtMs, result: Number(text) } });
    else tell({ key, operation: { ...operation, answeredAtMs, result: text === undefined ? null : Number(text) } });
    this.#asked = undefined;
    setTimeout(
      () => {
        this.#ask();
      },
      this.#random.between(THINK_MS.low, THINK_MS.high),
    );
  }
}

const all = Array.from({ length: Number(clients) }, (_, number) => new Client(number));
process.stdin.resume().on('end', () => {
  stopping = true;
  for (const client of all) client.finish();
});
// The guest is gone: what has no answer never gets one.
process.on('SIGTERM', () => {
  for (const client of all) client.giveUp();
});
// The terminal's Ctrl-C is for whoever started this.
process.on('SIGINT', () => undefined);
