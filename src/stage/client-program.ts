import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { ClientEvent } from './conversation-log.js';
import { parseAnswer, type MessageKind } from './ledger-line.js';
import { nowMs } from './wall-clock.js';

/**
 * The program at the client: one connection with the guest's ledger for as long as the standard input stays open, a message
 * every so often, each write's text at random. Everything that happens is a line of JSON on the standard output.
 *
 * usage: client-program ADDRESS PORT INTERVAL_MS WRITE_EVERY
 */

/** More messages than this are not under way: a guest that is silent for long gets no flood afterwards. */
const OUTSTANDING_LIMIT = 64;

const TEXT_BYTES = 12;

const [address = '', port = '', intervalMs = '', writeEvery = ''] = process.argv.slice(2);

interface Sent {
  readonly number: number;
  readonly kind: MessageKind;
  readonly line: string;
  readonly sentAtMs: number;
}

const outstanding: Sent[] = [];
let lastNumber = 0;
let stopping = false;

function tell(event: ClientEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const socket = connect({ host: address, port: Number(port), noDelay: true });
const timer = setInterval(send, Number(intervalMs));

function send(): void {
  if (stopping || socket.connecting || outstanding.length >= OUTSTANDING_LIMIT) return;
  const number = (lastNumber += 1);
  const kind = number % Number(writeEvery) === 0 ? 'W' : 'E';
  const line = kind === 'W' ? `W ${number} ${randomBytes(TEXT_BYTES).toString('hex')}` : `E ${number}`;
  const sent: Sent = { number, kind, line, sentAtMs: nowMs() };
  outstanding.push(sent);
  tell({ event: 'sent', ...sent });
  socket.write(`${line}\n`);
}

function finishWhenAnswered(): void {
  if (stopping && outstanding.length === 0) socket.end();
}

socket.on('connect', () => {
  tell({ event: 'connected', atMs: nowMs() });
});
socket.on('error', (error) => {
  tell({ event: 'broken', text: error.message });
});
socket.on('close', () => {
  clearInterval(timer);
  tell({ event: 'closed', unanswered: outstanding.length });
  process.exit(0);
});
const lines = createInterface({ input: socket });
// It says again what the socket said.
lines.on('error', () => undefined);
lines.on('line', (line) => {
  const receivedAtMs = nowMs();
  const answer = parseAnswer(line);
  const expected = outstanding.shift();
  if (answer === undefined || expected === undefined) {
    tell({
      event: 'violation',
      text: `the guest said "${line}", and ${expected === undefined ? 'nothing' : 'an answer'} was due`,
    });
    return;
  }
  if (answer.number !== expected.number || answer.kind !== expected.kind || answer.count !== expected.number) {
    tell({ event: 'violation', text: `the guest answered "${line}" to "${expected.line}"` });
  }
  tell({ event: 'answered', number: expected.number, receivedAtMs });
  finishWhenAnswered();
});
// Whoever started this closes the input, or has died.
process.stdin.resume().on('end', () => {
  stopping = true;
  finishWhenAnswered();
});
// The terminal's Ctrl-C is for whoever started this.
process.on('SIGINT', () => undefined);
