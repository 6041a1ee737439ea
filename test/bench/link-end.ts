import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { addon } from '../../src/native/addon.js';
import { testing, type TestCheckpoint } from '../native/testing.js';
import { checkpointOf, Heard, KEY, makeReceiver, makeSender, PAGE_BYTES } from '../link/stand.js';
import type { ReceiverEvent, SenderEvent } from '../../src/native/link.js';

/**
 * One end of a measurement, a process of its own, in the namespace of its host: `link-end.js receive JSON` prints its port
 * and serves one run; `link-end.js send JSON` makes it and prints what it measured.
 */
export interface LinkRun {
  /** `pump`: bare TLS. `ahead`: pre-copy. `epochs`: bulk checkpoints, each acknowledged before the next. */
  readonly kind: 'pump' | 'ahead' | 'epochs';
  readonly plain: boolean;
  readonly content: 'noise' | 'text';
  readonly totalBytes: number;
  /** Pages of one checkpoint. */
  readonly checkpointPages: number;
  readonly host: string;
  readonly port: number;
}

export interface LinkRunResult {
  readonly seconds: number;
  readonly ackUs: number;
  readonly pages: Readonly<Record<string, number>>;
  readonly sentBytes: number;
}

const RAM_BYTES = 512 << 20;
const CONTENT_BYTES = 64 << 20;

/** The raw socket, taken from Node. */
function take(socket: Socket): number {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const own = addon.duplicateDescriptor(fd);
  socket.destroy();
  return own;
}

async function accept(run: LinkRun): Promise<[stream: number, lease: number]> {
  const sockets: number[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(take(socket));
    if (sockets.length === 2) server.close();
  });
  server.listen(0, run.host);
  await once(server, 'listening');
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  await once(server, 'close');
  return sockets as [number, number];
}

async function dial(run: LinkRun): Promise<number> {
  const socket = connect({ port: run.port, host: run.host });
  socket.pause();
  await once(socket, 'connect');
  return take(socket);
}

async function receive(run: LinkRun): Promise<void> {
  const [stream, lease] = await accept(run);
  if (run.kind === 'pump') return testing.pumpIn(stream, KEY, run.totalBytes);
  const heard = new Heard<ReceiverEvent>();
  const receiver = makeReceiver(stream, lease, addon.createRam('bench', RAM_BYTES), heard, {
    key: run.plain ? undefined : KEY,
    onEvent: (event) => {
      heard.listener(event);
      if (event.type === 'committed') receiver.ack(event.epoch);
    },
  });
  await heard.first('lost');
  await receiver.close();
}

/** What guest memory holds: noise that nothing makes smaller, or something like text and tables. */
function makeContent(kind: LinkRun['content']): Buffer {
  const content = Buffer.allocUnsafe(CONTENT_BYTES);
  if (kind === 'noise') return randomFillSync(content);
  const words = Buffer.from('the quick brown kernel counts pages and lets the lazy guest sleep while it may; ');
  for (let page = 0; page < CONTENT_BYTES; page += PAGE_BYTES) {
    content.fill(words.subarray(page % 64), page, page + PAGE_BYTES);
    for (let at = page; at < page + PAGE_BYTES; at += 64) content.writeUInt32LE((at * 2654435761) % 2 ** 32, at);
  }
  return content;
}

async function send(run: LinkRun): Promise<LinkRunResult> {
  const stream = await dial(run);
  const lease = await dial(run);
  const start = (): (() => number) => {
    const began = performance.now();
    return () => (performance.now() - began) / 1000;
  };
  if (run.kind === 'pump') {
    const clock = start();
    await testing.pumpOut(stream, KEY, run.totalBytes);
    return { seconds: clock(), ackUs: 0, pages: {}, sentBytes: run.totalBytes };
  }
  const content = makeContent(run.content);
  const heard = new Heard<SenderEvent>();
  let onAck = (): void => undefined;
  const link = makeSender(stream, lease, heard, {
    key: run.plain ? undefined : KEY,
    ramBytes: RAM_BYTES,
    onEvent: (event) => {
      heard.listener(event);
      if (event.type === 'acked') onAck();
    },
  });
  await heard.first('connected');
  let waitedS = 0;
  // Submits an epoch and waits for its ack; what counts for bulk checkpoints, since the copy is the capture's.
  const sync = async (checkpoint: TestCheckpoint): Promise<void> => {
    const acked = new Promise<void>((resolve) => {
      onAck = resolve;
    });
    testing.submitCheckpoint({ link }, checkpoint);
    const wait = start();
    await acked;
    waitedS += wait();
  };
  const clock = start();
  const bytes = run.checkpointPages * PAGE_BYTES;
  let epoch = 0n;
  for (let sent = 0; sent < run.totalBytes; sent += bytes) {
    const from = sent % (CONTENT_BYTES - bytes + 1);
    const ranges = [[(sent % RAM_BYTES) / PAGE_BYTES, run.checkpointPages]] as const;
    const pages = content.subarray(from, from + bytes);
    if (run.kind === 'epochs') {
      await sync(checkpointOf({ epoch: ++epoch, ranges, pages }));
    } else {
      await testing.waitForRoom({ link });
      testing.submitCheckpoint({ link }, checkpointOf({ epoch, ranges, pages }));
    }
  }
  await sync(checkpointOf({ epoch: ++epoch }));
  const seconds = run.kind === 'epochs' ? waitedS : clock();
  const { ackUs, pages, sentBytes } = link.stats();
  await link.close();
  return { seconds, ackUs: ackUs.p50, pages, sentBytes };
}

const [role, json] = process.argv.slice(2);
const run = JSON.parse(json!) as LinkRun;
if (role === 'receive') await receive(run);
else process.stdout.write(`${JSON.stringify(await send(run))}\n`);
