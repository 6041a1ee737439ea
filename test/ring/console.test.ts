import { readdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { addon, type OutputGate } from '../../src/native/addon.js';
import { loseLeaseBehindGate } from './lost-lease.js';
import { until } from './until.js';

/** Named limit of addon/ring/console/console_pump.h. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** More than every buffer of the way, ours and the kernel's, takes. */
const FLOOD_BYTES = 8 << 20;

interface Ends {
  readonly gate: OutputGate;
  /** QEMU's end of the serial port. */
  readonly guest: Socket;
  /** Where the owner reads output and types input. */
  readonly owner: Socket;
  readonly output: () => string;
  /** Ends the pump; both sockets then see their end. */
  readonly closePump: () => Promise<void>;
}

function open(t: ExecutionContext, read = true): Ends {
  const [guestFd, guestEnd] = addon.socketPair();
  const [outletFd, ownerEnd] = addon.socketPair();
  const gate = new addon.OutputGate();
  const pump = new addon.Console({ guestFd, outletFd, gate });
  const guest = new Socket({ fd: guestEnd, readable: true, writable: true });
  const owner = new Socket({ fd: ownerEnd, readable: true, writable: true });
  const chunks: Buffer[] = [];
  if (read) owner.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (const socket of [guest, owner]) socket.on('error', () => socket.destroy());
  t.teardown(async () => {
    guest.destroy();
    owner.destroy();
    await pump.close();
  });
  return { gate, guest, owner, output: () => Buffer.concat(chunks).toString(), closePump: () => pump.close() };
}

test.serial('an open gate lets output through in order', async (t) => {
  const { guest, output, gate } = open(t);
  let expected = '';
  for (let line = 0; line < 500; line++) {
    const text = `line ${line}\n`;
    expected += text;
    guest.write(text);
  }
  await until(() => output().length === expected.length, 'all output arrives');
  t.is(output(), expected);
  t.is(gate.counters().held, 0);
});

test.serial('what is typed reaches the guest, gate open or closed', async (t) => {
  const { guest, owner, gate } = open(t);
  let typed = '';
  guest.on('data', (chunk: Buffer) => (typed += chunk.toString()));
  owner.write('ls\n');
  await until(() => typed === 'ls\n', 'input arrives');
  gate.close();
  owner.write('exit\n');
  await until(() => typed === 'ls\nexit\n', 'input arrives behind a closed gate');
  t.is(gate.counters().passed, 0);
});

test.serial('a closed gate holds output until its sequence is released', async (t) => {
  const { guest, output, gate } = open(t);
  guest.write('one ');
  await until(() => output() === 'one ', 'output before the gate closed');
  gate.close();
  guest.write('two ');
  await until(() => gate.counters().held === 1, 'the second is held');
  const second = gate.lastSequence;
  guest.write('three ');
  await until(() => gate.counters().held === 2, 'the third is held');
  t.is(output(), 'one ');
  gate.release(second);
  await until(() => output() === 'one two ', 'the second leaves');
  t.is(gate.counters().released, 1);
  gate.release(gate.lastSequence);
  await until(() => output() === 'one two three ', 'the third leaves');
});

test.serial(
  'output that the gate let go does not leave once the lease is over; a renewal lets it go, in order',
  async (t) => {
    const { guest, output, gate } = open(t);
    gate.close();
    guest.write('one ');
    await until(() => gate.counters().held === 1, 'the first is held');
    loseLeaseBehindGate(gate);
    guest.write('two ');
    await until(() => gate.counters().held === 2, 'the second is held');
    gate.open();
    await setTimeout(50);
    t.is(output(), '');
    gate.renewLease(1n << 62n);
    await until(() => output() === 'one two ', 'both leave');
  },
);

test.serial('opening the gate lets all that was held leave, before what follows', async (t) => {
  const { guest, output, gate } = open(t);
  gate.close();
  for (const [index, text] of ['a', 'b', 'c'].entries()) {
    guest.write(text);
    await until(() => gate.counters().held === index + 1, `'${text}' is held`);
  }
  gate.open();
  guest.write('d');
  await until(() => output() === 'abcd', 'all leaves in order');
  t.is(gate.counters().released, 3);
});

test.serial('a reader that does not read stops the guest, and loses nothing', async (t) => {
  const { guest, owner } = open(t, false);
  owner.pause();
  const sent = Buffer.alloc(FLOOD_BYTES, 'kemari ');
  let taken = false;
  guest.write(sent, () => (taken = true));
  await until(() => guest.bytesWritten > 0 && guest.writableLength > 0, 'the port is full');
  t.false(taken);
  const received: Buffer[] = [];
  owner.on('data', (chunk: Buffer) => received.push(chunk));
  owner.resume();
  await until(() => taken, 'the guest goes on');
  await until(() => received.reduce((sum, { length }) => sum + length, 0) === FLOOD_BYTES, 'all arrives');
  t.true(Buffer.concat(received).equals(sent));
});

test.serial('a closed gate holds no more than its limit', async (t) => {
  const { guest, gate, output } = open(t);
  gate.close();
  let taken = false;
  guest.write(Buffer.alloc(FLOOD_BYTES, 'x'), () => (taken = true));
  await until(() => gate.counters().held >= MAX_BUFFERED_BYTES / 4096, 'the limit is reached');
  t.is(gate.counters().held, MAX_BUFFERED_BYTES / 4096);
  t.false(taken);
  t.is(output(), '');
  gate.open();
  await until(() => output().length === FLOOD_BYTES, 'all leaves');
});

test.serial('a reader that left does not stop the guest', async (t) => {
  const { guest, owner } = open(t);
  owner.destroy();
  let taken = false;
  guest.write(Buffer.alloc(FLOOD_BYTES, 'x'), () => (taken = true));
  await until(() => taken, 'the guest prints on');
  t.pass();
});

test.serial('the end of the guest ends the outlet after the last byte', async (t) => {
  const { guest, owner, output, gate } = open(t);
  gate.close();
  guest.end('last words');
  let ended = false;
  owner.on('end', () => (ended = true));
  await until(() => gate.counters().held === 1, 'the last words are held');
  t.false(ended);
  gate.release(gate.lastSequence);
  await until(() => ended, 'the outlet ends');
  t.is(output(), 'last words');
});

test.serial('close ends the thread and both connections, and what is held never leaves', async (t) => {
  const { guest, owner, output, gate, closePump } = open(t);
  gate.close();
  guest.write('secret');
  await until(() => gate.counters().held === 1, 'output is held');
  const ends = Promise.all([guest, owner].map((socket) => new Promise((resolve) => socket.on('close', resolve))));
  const threads = (): number => readdirSync('/proc/self/task').length;
  const before = threads();
  await closePump();
  await closePump();
  await until(() => threads() < before, 'the thread ends');
  await ends;
  gate.open();
  t.is(output(), '');
});
