import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { KemariError } from '../../../src/base/errors.js';
import { QmpClient } from '../../../src/hypervisor/qemu/qmp-client.js';

interface Pair {
  readonly client: QmpClient;
  /** QEMU's side. */
  readonly peer: Socket;
  readonly broken: Promise<KemariError>;
  readonly events: string[];
}

async function pair(t: ExecutionContext): Promise<Pair> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [peer] = (await once(server, 'connection')) as [Socket];
  server.close();
  t.teardown(() => peer.destroy());
  const events: string[] = [];
  let report: (error: KemariError) => void;
  const broken = new Promise<KemariError>((resolve) => {
    report = resolve;
  });
  const client = new QmpClient(socket, {
    onEvent: ({ name }) => void events.push(name),
    onBroken: (error) => {
      report(error);
    },
  });
  t.teardown(() => {
    client.close();
  });
  return { client, peer, broken, events };
}

test('replies reach those who asked, in whatever order they come, and events pass between them', async (t) => {
  const { client, peer, events } = await pair(t);
  const first = client.execute('one');
  const second = client.execute('two');
  peer.write('{"return": "b", "id": 2}\n{"event": "STOP"}\n{"return": "a", "id": 1}\n');
  t.deepEqual(await Promise.all([first, second]), ['a', 'b']);
  t.deepEqual(events, ['STOP']);
});

test('negotiation greets, leaves the negotiation mode and tells the version', async (t) => {
  const { client, peer } = await pair(t);
  const version = client.negotiate(5000);
  peer.write('{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}}}\n');
  const [sent] = (await once(peer, 'data')) as [Buffer];
  t.like(JSON.parse(sent.toString()), { execute: 'qmp_capabilities', id: 1 });
  peer.write('{"return": {}, "id": 1}\n');
  t.deepEqual(await version, { major: 10, minor: 0, micro: 2 });
});

test('a refusal carries the words of QEMU', async (t) => {
  const { client, peer } = await pair(t);
  const asked = client.execute('cont');
  peer.write('{"error": {"class": "GenericError", "desc": "Resetting is required"}, "id": 1}\n');
  await t.throwsAsync(asked, { code: 'KEMARI_QMP_REFUSED', message: 'QEMU refused cont: Resetting is required' });
});

test('a command without a reply ends at its deadline, and its late reply does no harm', async (t) => {
  const { client, peer } = await pair(t);
  await t.throwsAsync(client.execute('slow', {}, 1), { code: 'KEMARI_QMP_TIMEOUT' });
  const next = client.execute('next');
  peer.write('{"return": 1, "id": 1}\n{"return": 2, "id": 2}\n');
  t.is(await next, 2);
});

test('a greeting that does not come breaks the connection', async (t) => {
  const { client, broken } = await pair(t);
  await t.throwsAsync(client.negotiate(1), { code: 'KEMARI_QMP_TIMEOUT' });
  t.is((await broken).code, 'KEMARI_QMP_TIMEOUT');
});

test('whoever waits learns that the connection ended', async (t) => {
  const { client, peer, broken } = await pair(t);
  const asked = client.execute('one');
  const awaited = client.nextEvent('RESET');
  peer.end();
  await t.throwsAsync(asked, { code: 'KEMARI_QMP_CLOSED' });
  await t.throwsAsync(awaited, { code: 'KEMARI_QMP_CLOSED' });
  t.is((await broken).code, 'KEMARI_QMP_CLOSED');
  await t.throwsAsync(client.execute('two'), { code: 'KEMARI_QMP_CLOSED' });
});

test('nonsense breaks the connection instead of being skipped', async (t) => {
  for (const line of [
    'nonsense\n',
    '{"return": {}, "id": 99}\n',
    '{"error": {"class": "G", "desc": "JSON parse error"}}\n',
  ]) {
    const { client, peer, broken } = await pair(t);
    const asked = client.execute('one');
    peer.write(line);
    await t.throwsAsync(asked, { code: 'KEMARI_QMP_MALFORMED' });
    t.is((await broken).code, 'KEMARI_QMP_MALFORMED');
  }
});
