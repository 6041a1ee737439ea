import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { addon } from '../../src/native/addon.js';
import { until } from '../ring/until.js';
import type { ReceiverEvent, SenderEvent } from '../../src/native/link.js';
import { Heard, makeReceiver, makeSender, StandbyRam, Stand, TOKEN, KEY } from './stand.js';

test('a wrong key is refused on both sides before anything is said', async (t) => {
  const stand = Stand.of(t, { receiver: { key: Buffer.alloc(32, 1) } });
  const [atSender, atReceiver] = await Promise.all([stand.sent.first('lost'), stand.received.first('lost')]);
  t.is(atSender.code, 'KEMARI_LINK_KEY', atSender.text);
  t.is(atReceiver.code, 'KEMARI_LINK_KEY', atReceiver.text);
  t.deepEqual(stand.sent.all('connected'), []);
  t.deepEqual(stand.received.all('connected'), []);
  t.is(stand.receiver.stats().receivedBytes, 0);
  t.is(stand.sender.stats().sentBytes, 0);
});

test('the token of another protection is refused like a wrong key', async (t) => {
  const stand = Stand.of(t, { receiver: { token: randomBytes(16) } });
  const [atSender, atReceiver] = await Promise.all([stand.sent.first('lost'), stand.received.first('lost')]);
  t.is(atSender.code, 'KEMARI_LINK_KEY', atSender.text);
  t.is(atReceiver.code, 'KEMARI_LINK_KEY', atReceiver.text);
});

test('a lease connection cannot be used as a stream, nor a stream as a lease connection', async (t) => {
  const ram = new StandbyRam(16);
  const [sent, received] = [new Heard<SenderEvent>(), new Heard<ReceiverEvent>()];
  const [streamA, streamB] = addon.socketPair();
  const [leaseA, leaseB] = addon.socketPair();
  const sender = makeSender(streamA, leaseA, sent, {});
  const receiver = makeReceiver(leaseB, streamB, ram.fd, received, {});
  t.is((await sent.first('lost')).code, 'KEMARI_LINK_KEY');
  t.is((await received.first('lost')).code, 'KEMARI_LINK_KEY');
  await Promise.all([sender.close(), receiver.close()]);
  ram.close();
});

test('a plain primary does not get through to a secured standby, and is told why', async (t) => {
  const stand = Stand.of(t, { sender: { key: undefined } });
  stand.sender.send('goodbye');
  const lost = await stand.received.first('lost');
  t.is(lost.code, 'KEMARI_LINK_TLS', lost.text);
  t.deepEqual(stand.received.all('word'), []);
});

test('a secured primary does not get through to a plain standby, and both say why', async (t) => {
  const stand = Stand.of(t, { receiver: { key: undefined }, sender: { connectTimeoutMs: 500 } });
  const lost = await stand.received.first('lost');
  t.is(lost.code, 'KEMARI_LINK_PROTOCOL');
  t.regex(lost.text, /speaks TLS .* --plain/);
  await stand.receiver.close();
  await stand.sent.first('lost');
  t.deepEqual(stand.sent.all('connected'), []);
});

test('who says nothing is given up at the deadline', async (t) => {
  const ram = new StandbyRam(16);
  const received = new Heard<ReceiverEvent>();
  const [streamA, streamB] = addon.socketPair();
  const [leaseA, leaseB] = addon.socketPair();
  const receiver = makeReceiver(streamB, leaseB, ram.fd, received, { connectTimeoutMs: 50 });
  const lost = await received.first('lost');
  t.is(lost.code, 'KEMARI_LINK_TIMEOUT', lost.text);
  await receiver.close();
  ram.close();
  for (const fd of [streamA, leaseA]) t.notThrows(() => addon.duplicateDescriptor(fd));
});

test('a port scan, a web browser and a half-open connection are refused with a code', async (t) => {
  for (const first of ['', 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x00\x05hello', '\0'.repeat(64)]) {
    const ram = new StandbyRam(16);
    const received = new Heard<ReceiverEvent>();
    const { server, client } = await tcpPair();
    const [, leaseB] = addon.socketPair();
    const receiver = makeReceiver(server, leaseB, ram.fd, received, {});
    client.on('error', () => undefined);
    client.end(first);
    const lost = await received.first('lost');
    t.true(['KEMARI_LINK_TLS', 'KEMARI_LINK_CLOSED'].includes(lost.code), `${lost.code} ${lost.text}`);
    await receiver.close();
    client.destroy();
    ram.close();
  }
});

test('a connection that is cut in the handshake is lost, with a code', async (t) => {
  const sent = new Heard<SenderEvent>();
  const { server, client } = await tcpPair();
  const [leaseA] = addon.socketPair();
  const sender = makeSender(server, leaseA, sent, {});
  client.on('error', () => undefined);
  client.once('data', () => client.resetAndDestroy());
  const lost = await sent.first('lost');
  t.is(lost.code, 'KEMARI_LINK_CLOSED', lost.text);
  await sender.close();
});

test('without a key nothing is encrypted, with one nothing is readable', async (t) => {
  for (const key of [undefined, KEY]) {
    const { server, client } = await tcpPair();
    const [, leaseB] = addon.socketPair();
    const ram = new StandbyRam(16);
    const received = new Heard<ReceiverEvent>();
    const receiver = makeReceiver(server, leaseB, ram.fd, received, { key, token: TOKEN });
    let heard = Buffer.alloc(0);
    client.on('data', (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes]);
    });
    receiver.send('disarmed', 'a word in clear');
    if (key === undefined) {
      await until(() => heard.includes('a word in clear'), 'the word in clear');
    }
    client.end();
    await received.first('lost');
    if (key !== undefined) t.false(heard.includes('a word in clear'));
    await receiver.close();
    client.destroy();
    ram.close();
  }
  t.pass();
});

test('options that cannot be are refused, and the sockets are closed', (t) => {
  const heard = new Heard<SenderEvent>();
  for (const wrong of [{ key: Buffer.alloc(31) }, { token: Buffer.alloc(3) }, { leaseMs: 0 }]) {
    const [streamA] = addon.socketPair();
    const [leaseA] = addon.socketPair();
    t.throws(() => makeSender(streamA, leaseA, heard, wrong), { code: 'KEMARI_ARGUMENT' });
    t.throws(() => addon.duplicateDescriptor(streamA), { code: 'KEMARI_DESCRIPTOR' });
    t.throws(() => addon.duplicateDescriptor(leaseA), { code: 'KEMARI_DESCRIPTOR' });
  }
});

/** A TCP connection: the accepted end as a descriptor of its own, as kemarid passes it on. */
async function tcpPair(): Promise<{ server: number; client: Socket }> {
  const listener = createServer({ pauseOnConnect: true });
  const accepted = new Promise<number>((resolve) => {
    listener.once('connection', (socket) => {
      const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
      const own = addon.duplicateDescriptor(fd);
      socket.destroy();
      resolve(own);
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1');
  const server = await accepted;
  listener.close();
  return { server, client };
}
