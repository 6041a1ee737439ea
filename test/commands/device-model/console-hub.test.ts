import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../../src/base/deadline.js';
import {
  CONSOLE_BACKLOG_LIMIT_BYTES,
  CONSOLE_CLIENT_LIMIT,
  CONSOLE_HISTORY_BYTES,
  ConsoleHub,
} from '../../../src/commands/device-model/console-hub.js';
import { addon } from '../../../src/native/addon.js';

const TIMEOUT_MS = 20_000;

interface Stand {
  readonly hub: ConsoleHub;
  readonly path: string;
  /** The machine's side. */
  readonly guest: Socket;
  readonly seen: () => string;
}

async function stand(t: ExecutionContext): Promise<Stand> {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-console-'));
  let seen = '';
  const path = join(folder, 'console.sock');
  const hub = await ConsoleHub.listen(path, (bytes) => {
    seen += bytes.toString();
  });
  const guest = attach(hub);
  t.teardown(async () => {
    guest.destroy();
    await hub.close();
    rmSync(folder, { recursive: true });
  });
  return { hub, path, guest, seen: () => seen };
}

function attach(hub: ConsoleHub): Socket {
  const [ours, theirs] = addon.socketPair();
  hub.attach(ours);
  return new Socket({ fd: theirs, readable: true, writable: true });
}

/** A client and what it was shown. */
async function client(t: ExecutionContext, path: string): Promise<{ socket: Socket; shown: () => string }> {
  const socket = connect(path);
  let shown = '';
  socket.on('data', (bytes: Buffer) => {
    shown += bytes.toString();
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  t.teardown(() => socket.destroy());
  return { socket, shown: () => shown };
}

async function until(t: ExecutionContext, condition: () => boolean): Promise<void> {
  t.true(await waitUntil(condition, { timeoutMs: TIMEOUT_MS }));
}

test('output goes to every client and to the log, and who comes later sees what was', async (t) => {
  const { path, guest, seen } = await stand(t);
  const first = await client(t, path);
  guest.write('booting\n');
  await until(t, () => first.shown() === 'booting\n');
  const second = await client(t, path);
  guest.write('login: ');
  await until(t, () => second.shown() === 'booting\nlogin: ' && first.shown() === second.shown());
  t.is(seen(), 'booting\nlogin: ');
});

test('what clients type reaches the guest', async (t) => {
  const { path, guest } = await stand(t);
  const { socket } = await client(t, path);
  let typed = '';
  guest.on('data', (bytes: Buffer) => {
    typed += bytes.toString();
  });
  socket.write('root\n');
  await until(t, () => typed === 'root\n');
});

test('the history is the latest output, not all of it', async (t) => {
  const { path, guest, seen } = await stand(t);
  const line = `${'x'.repeat(1023)}\n`;
  const lines = (3 * CONSOLE_HISTORY_BYTES) / line.length;
  for (let count = 0; count < lines; count++) guest.write(line);
  guest.write('the end');
  await until(t, () => seen().endsWith('the end'));
  const late = await client(t, path);
  await until(t, () => late.shown().endsWith('the end'));
  t.true(late.shown().length >= CONSOLE_HISTORY_BYTES / 2);
  t.true(late.shown().length < 2.5 * CONSOLE_HISTORY_BYTES);
});

test('a client that does not read is closed and holds up neither the guest nor the others', async (t) => {
  const { path, guest, seen } = await stand(t);
  const slow = await client(t, path);
  slow.socket.pause();
  const closed = once(slow.socket, 'close');
  const chunk = Buffer.alloc(64 << 10, 'y');
  const total = 4 * CONSOLE_BACKLOG_LIMIT_BYTES;
  for (let sent = 0; sent < total; sent += chunk.length) guest.write(chunk);
  await until(t, () => seen().length === total);
  slow.socket.resume();
  await closed;
  t.true(slow.shown().length < total);
});

test('the console of the next machine follows in the same place', async (t) => {
  const { hub, path, guest } = await stand(t);
  const { shown } = await client(t, path);
  guest.write('one ');
  await until(t, () => shown() === 'one ');
  const next = attach(hub);
  t.teardown(() => next.destroy());
  next.write('two');
  await until(t, () => shown() === 'one two');
});

test('more clients than the limit are turned away', async (t) => {
  const { path, guest } = await stand(t);
  const clients: Awaited<ReturnType<typeof client>>[] = [];
  for (let count = 0; count < CONSOLE_CLIENT_LIMIT; count++) clients.push(await client(t, path));
  const surplus = await client(t, path);
  await once(surplus.socket, 'close');
  guest.write('hello');
  await until(t, () => clients.every(({ shown }) => shown() === 'hello'));
});
