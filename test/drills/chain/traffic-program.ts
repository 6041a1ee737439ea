import { createSocket as createDatagramSocket } from 'node:dgram';
import { connect } from 'node:net';
import { AddressFamily, createChecksum, createSocket, Protocol, writeChecksum } from 'raw-socket';
import { nowMs } from '../../../src/stage/wall-clock.js';
import { BLOCK_BYTES, makeBlock, readBlock } from './block.js';
import { Echoes } from './echoes.js';
import type { TrafficEvent } from './traffic-load.js';

/**
 * The program at the client: pings, numbered datagrams that the guest sends back, and one TCP connection with a stream of
 * checksummed blocks each way (hack/guest/traffic.cc), for as long as the standard input stays open. Lines of JSON on the
 * standard output: how far each has come, and at the end what came of it.
 *
 * usage: traffic-program ADDRESS UDP_PORT TCP_PORT
 */

const INTERVAL_MS = 20;
const PROGRESS_EVERY_MS = 100;
/** At the end, for what may still be on its way. */
const GRACE_MS = 2_000;

const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const ECHO_BYTES = 16;
const IDENTIFIER = process.pid & 0xffff;

const [address = '', udpPort = '', tcpPort = ''] = process.argv.slice(2);

function tell(event: TrafficEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const datagrams = new Echoes();
const datagramSocket = createDatagramSocket('udp4');
datagramSocket.on('message', (message) => {
  datagrams.heard(numberIn(message), nowMs());
});
// What the network refuses is lost, and counted as lost.
datagramSocket.on('error', () => undefined);

function sendDatagram(): void {
  const message = Buffer.from(`kemari ${datagrams.next()}`);
  datagramSocket.send(message, Number(udpPort), address, () => undefined);
}

function numberIn(message: Buffer): number | undefined {
  const found = /^kemari (\d+)$/.exec(message.toString('latin1'));
  return found === null ? undefined : Number(found[1]);
}

const pings = new Echoes();
const pingSocket = createSocket({ protocol: Protocol.ICMP, addressFamily: AddressFamily.IPv4 });
pingSocket.on('message', (packet: Buffer, source: string) => {
  const message = packet.subarray((packet.readUInt8(0) & 0x0f) * 4);
  const isOurs =
    source === address && message.length >= ECHO_BYTES && message.readUInt8(0) === ECHO_REPLY && message.readUInt16BE(4) === IDENTIFIER; // prettier-ignore
  if (isOurs) pings.heard(message.readUInt32BE(8), nowMs());
});
pingSocket.on('error', () => undefined);

function sendPing(): void {
  const number = pings.next();
  const message = Buffer.alloc(ECHO_BYTES);
  message.writeUInt8(ECHO_REQUEST, 0);
  message.writeUInt16BE(IDENTIFIER, 4);
  message.writeUInt16BE(number & 0xffff, 6);
  message.writeUInt32BE(number, 8);
  writeChecksum(message, 2, createChecksum({ buffer: message, offset: 0, length: ECHO_BYTES }));
  pingSocket.send(message, 0, ECHO_BYTES, address, () => undefined);
}

const streamArrivalsMs: number[] = [];
let sentBlocks = 0;
let saidByGuest: number | undefined;
let broken: string | undefined;
let streamEnded = false;
let unread = Buffer.alloc(0);

const stream = connect({ host: address, port: Number(tcpPort), noDelay: true, allowHalfOpen: true });
stream.on('data', (chunk) => {
  unread = Buffer.concat([unread, chunk]);
  while (unread.length >= BLOCK_BYTES) {
    takeBlock(unread.subarray(0, BLOCK_BYTES));
    unread = unread.subarray(BLOCK_BYTES);
  }
});
stream.on('error', (error) => {
  broken ??= error.message;
});
stream.on('close', () => {
  if (saidByGuest === undefined) broken ??= 'the guest ended it';
  streamEnded = true;
});

function takeBlock(block: Buffer): void {
  const atMs = nowMs();
  try {
    const { number, heard } = readBlock(block);
    if (number === 0) saidByGuest = heard;
    else if (number === streamArrivalsMs.length + 1) streamArrivalsMs.push(atMs);
    else throw new Error(`block ${number} came, expected ${streamArrivalsMs.length + 1}`);
  } catch (error) {
    broken ??= (error as Error).message;
    stream.destroy();
  }
}

function sendBlock(): void {
  // Where the guest takes nothing for long, nothing is piled up for it.
  if (stream.connecting || stream.writableNeedDrain || stream.destroyed) return;
  stream.write(makeBlock((sentBlocks += 1)));
}

const sending = setInterval(() => {
  sendDatagram();
  sendPing();
  sendBlock();
}, INTERVAL_MS);
const telling = setInterval(() => {
  tell({
    event: 'progress',
    datagrams: datagrams.answered,
    pings: pings.answered,
    stream: streamArrivalsMs.length,
  });
}, PROGRESS_EVERY_MS);

// Whoever started this closes the input, or has died.
process.stdin.resume().on('end', () => {
  clearInterval(sending);
  stream.end();
  const deadlineMs = nowMs() + GRACE_MS;
  setInterval(() => {
    const echoed = (datagrams.allAnswered && pings.allAnswered) || nowMs() > deadlineMs;
    if (streamEnded && echoed) finish();
  }, INTERVAL_MS);
});

function finish(): void {
  clearInterval(telling);
  if (broken === undefined && saidByGuest !== sentBlocks)
    broken = `the guest got ${saidByGuest ?? 'no'} blocks of ${sentBlocks}`;
  const report: TrafficEvent = {
    event: 'report',
    datagrams: { ...datagrams.counts(), arrivalsMs: datagrams.arrivalsMs },
    pings: { ...pings.counts(), arrivalsMs: pings.arrivalsMs },
    stream: { sent: sentBlocks, broken, arrivalsMs: streamArrivalsMs },
  };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
}

// The terminal's Ctrl-C is for whoever started this.
process.on('SIGINT', () => undefined);
