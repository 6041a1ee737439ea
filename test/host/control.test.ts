import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { request, watch } from '../../src/host/control-client.js';
import { CONNECTION_LIMIT, ControlServer, PENDING_LIMIT, type ControlHandlers } from '../../src/host/control-server.js';
import { LINE_LIMIT_BYTES } from '../../src/base/json-lines.js';
import { temporaryHost } from './testing.js';

const quiet: ControlHandlers = {
  info: () => {
    throw new Error('a mistake of ours');
  },
  pause: () => null,
  unpause: () => null,
  shutdown: () => {
    throw new KemariError('KEMARI_TESTING', 'no power button', { details: { answer: 42 } });
  },
  reboot: () => null,
  destroy: () => null,
  takeover: () => null,
  disarm: () => null,
  protect: () => ({ outcome: 'ended', text: '' }),
  'protection-events': () => ({ outcome: 'ended', text: '' }),
  unprotect: () => null,
  switchover: () => null,
  'resume-unprotected': () => null,
  trace: () => [],
  'bench-stop-cont': () => [],
};

function socketPath(t: ExecutionContext): string {
  return join(temporaryHost(t).host.root, 'control.sock');
}

async function serve(t: ExecutionContext, handlers: Partial<ControlHandlers> = {}) {
  const controlSocket = socketPath(t);
  const server = await ControlServer.listen(controlSocket, { ...quiet, ...handlers });
  t.teardown(() => server.close());
  return { server, target: { name: 'g', controlSocket } };
}

/** What the server says to these bytes until it hangs up or has said `lines` lines. */
async function say(path: string, bytes: string, lines: number): Promise<{ error?: { code: string }; id?: unknown }[]> {
  const socket = connect(path);
  socket.write(bytes);
  let text = '';
  for await (const data of socket) {
    text += String(data);
    if (text.split('\n').length > lines) break;
  }
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { error?: { code: string }; id?: unknown });
}

test('a request is answered', async (t) => {
  const { target } = await serve(t);
  t.is(await request(target, { verb: 'pause' }), null);
});

test('the error of a handler reaches the client with its code and details', async (t) => {
  const { target } = await serve(t);
  const error = await t.throwsAsync(request(target, { verb: 'shutdown' }), { instanceOf: KemariError });
  t.is(error.code, 'KEMARI_TESTING');
  t.deepEqual(error.details, { answer: 42 });
  await t.throwsAsync(request(target, { verb: 'info' }), { code: 'KEMARI_INTERNAL', message: 'a mistake of ours' });
});

test('requests of one connection are each answered with their number', async (t) => {
  const { target } = await serve(t);
  const replies = await say(target.controlSocket, '{"id":7,"verb":"pause"}\n{"id":"x","verb":"reboot"}\n', 2);
  t.deepEqual<unknown, unknown>(replies, [
    { id: 7, result: null },
    { id: 'x', result: null },
  ]);
});

test('what is no request is refused, and the server goes on', async (t) => {
  const { target } = await serve(t);
  const path = target.controlSocket;
  const bad = ['{"id":1,"verb":"frob"}', '{"id":1}', 'null', '7', '[]', '{"id":1,"verb":"constructor"}'];
  for (const line of bad) t.is((await say(path, `${line}\n`, 1))[0]!.error!.code, 'KEMARI_UNKNOWN_VERB', line);
  t.is((await say(path, '{"id":\n', 1))[0]!.error!.code, 'KEMARI_PROTOCOL');
  t.is((await say(path, 'x'.repeat(LINE_LIMIT_BYTES + 1), 1))[0]!.error!.code, 'KEMARI_PROTOCOL');
  t.is(await request(target, { verb: 'pause' }), null);
});

test('a client that floods is refused beyond the limit', async (t) => {
  let free: () => void = () => undefined;
  const freed = new Promise<null>((resolve) => {
    free = () => {
      resolve(null);
    };
  });
  const { target } = await serve(t, { pause: () => freed });
  const one = '{"id":1,"verb":"pause"}\n';
  const [first] = await say(target.controlSocket, one.repeat(PENDING_LIMIT + 1), 1);
  t.is(first!.error!.code, 'KEMARI_TOO_MANY_REQUESTS');
  free();
});

test('one connection more than the limit is closed', async (t) => {
  const { target } = await serve(t);
  const sockets = Array.from({ length: CONNECTION_LIMIT }, () => connect(target.controlSocket));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  await t.throwsAsync(request(target, { verb: 'pause' }), { code: 'KEMARI_NO_CONNECTION' });
  for (const socket of sockets) socket.destroy();
});

test('closing waits for the replies that are under way', async (t) => {
  const { server, target } = await serve(t, {
    destroy: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return null;
    },
  });
  const reply = request(target, { verb: 'destroy' });
  await say(target.controlSocket, '{"id":1,"verb":"pause"}\n', 1);
  await server.close();
  t.is(await reply, null);
  await t.throwsAsync(request(target, { verb: 'pause' }), { code: 'KEMARI_NO_CONNECTION' });
});

test('a kemari-dm that does not answer in time is named with what to do', async (t) => {
  const { target } = await serve(t, { info: () => new Promise<never>(() => undefined) });
  const error = await t.throwsAsync(request(target, { verb: 'info' }, 50), { instanceOf: KemariError });
  t.is(error.code, 'KEMARI_NOT_RESPONDING');
  t.regex(error.message, /within 50 ms.*kemari destroy g/);
});

test('a kemari-dm that hangs up, or answers nonsense, is an error', async (t) => {
  const path = socketPath(t);
  let answer = '';
  const server = createServer((socket) => socket.end(answer)).listen(path);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const target = { name: 'g', controlSocket: path };
  await t.throwsAsync(request(target, { verb: 'pause' }), { code: 'KEMARI_NO_CONNECTION' });
  for (answer of ['nonsense\n', '{}\n', 'null\n', '{"id":2,"result":null}\n', '{"id":1,"error":{"code":"x"}}\n']) {
    await t.throwsAsync(request(target, { verb: 'pause' }), { code: 'KEMARI_PROTOCOL' }, answer);
  }
});

test('what is watched is told event by event, until the reply', async (t) => {
  const { target } = await serve(t, {
    'protection-events': (_, watcher) => {
      for (const text of ['one', 'two']) watcher.emit({ atMs: 1, type: 'connecting', text });
      return { outcome: 'ended', text: 'over' };
    },
  });
  const seen: unknown[] = [];
  const forever = new AbortController().signal;
  const end = await watch(target, { verb: 'protection-events' }, (event) => seen.push(event), forever);
  t.deepEqual<unknown, unknown>(end, { outcome: 'ended', text: 'over' });
  t.like(seen, [{ text: 'one' }, { text: 'two' }]);
});

test('who stops watching is heard of, and gets no reply', async (t) => {
  let left: () => void = () => undefined;
  const hasLeft = new Promise<void>((resolve) => (left = resolve));
  const { target } = await serve(t, {
    'protection-events': async (_, watcher) => {
      watcher.emit({ atMs: 1, type: 'connecting', text: 'one' });
      await once(watcher.signal, 'abort');
      left();
      return { outcome: 'ended', text: 'over' };
    },
  });
  const leave = new AbortController();
  const watching = watch(
    target,
    { verb: 'protection-events' },
    () => {
      leave.abort();
    },
    leave.signal,
  );
  t.is(await watching, undefined);
  await hasLeft;
});
