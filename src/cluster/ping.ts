import { isIP } from 'node:net';
import { randomBytes } from 'node:crypto';
import { AddressFamily, createChecksum, createSocket, Protocol, writeChecksum, type RawSocket } from 'raw-socket';

const ECHO_BYTES = 16;
const CHECKSUM_OFFSET = 2;
const MARK_OFFSET = 4;

interface Family {
  readonly protocol: number;
  readonly addressFamily: number;
  readonly request: number;
  readonly reply: number;
  /** Where the ICMP message starts in what is received; with IPv4 the header comes along. */
  readonly messageAt: (received: Buffer) => number;
}

const WORDS_TO_BYTES = 4;

const FAMILIES: Readonly<Record<4 | 6, Family>> = {
  4: {
    ...{ protocol: Protocol.ICMP, addressFamily: AddressFamily.IPv4, request: 8, reply: 0 },
    messageAt: (received) => (received.readUInt8(0) & 0x0f) * WORDS_TO_BYTES,
  },
  6: {
    ...{ protocol: Protocol.ICMPv6, addressFamily: AddressFamily.IPv6, request: 128, reply: 129 },
    messageAt: () => 0,
  },
};

/**
 * Whether an address answers an ICMP echo (RFC 792, RFC 4443) within `timeoutMs`. It says that there is a path to a kernel, and
 * nothing of the processes there. False also where none can be sent, and for names.
 */
export async function ping(address: string, timeoutMs: number): Promise<boolean> {
  const version = isIP(address);
  if (version !== 4 && version !== 6) return false;
  let socket: RawSocket;
  try {
    socket = createSocket(FAMILIES[version]);
  } catch {
    // No CAP_NET_RAW, or no such family here: then there is nothing to learn.
    return false;
  }
  const answered = echo(socket, FAMILIES[version], address, timeoutMs);
  return answered.finally(() => {
    socket.close();
  });
}

function echo(socket: RawSocket, family: Family, address: string, timeoutMs: number): Promise<boolean> {
  // Identifier, sequence number and data in one: random, so that every reply is told apart.
  const mark = randomBytes(ECHO_BYTES - MARK_OFFSET);
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve(false);
    }, timeoutMs);
    const settle = (heard: boolean): void => {
      clearTimeout(timer);
      resolve(heard);
    };
    socket.on('error', () => {
      settle(false);
    });
    socket.on('message', (received: Buffer) => {
      const message = received.subarray(received.length === 0 ? 0 : family.messageAt(received));
      if (message.length < ECHO_BYTES || message.readUInt8(0) !== family.reply) return;
      if (message.subarray(MARK_OFFSET, ECHO_BYTES).equals(mark)) settle(true);
    });
    socket.send(echoRequest(family, mark), 0, ECHO_BYTES, address, (error) => {
      if (error !== null) settle(false);
    });
  });
}

function echoRequest({ request }: Family, mark: Buffer): Buffer {
  const message = Buffer.concat([Buffer.of(request, 0, 0, 0), mark]);
  // With IPv6 the kernel computes it (RFC 3542 section 3.1).
  return writeChecksum(message, CHECKSUM_OFFSET, createChecksum({ buffer: message, offset: 0, length: ECHO_BYTES }));
}
