/** What kemari uses of the package raw-socket, which has no types of its own. */
declare module 'raw-socket' {
  import type { EventEmitter } from 'node:events';

  export const Protocol: { readonly ICMP: number; readonly ICMPv6: number };
  export const AddressFamily: { readonly IPv4: number; readonly IPv6: number };

  /** Its `message` is a packet and whom it is from. */
  export interface RawSocket extends EventEmitter {
    /** Sends `length` bytes of `buffer` from `offset` on; the address is one, not a name. */
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      onDone: (error: Error | null, bytes: number) => void,
    ): void;
    close(): void;
  }

  export function createSocket(options: { protocol: number; addressFamily: number }): RawSocket;
  /** The Internet checksum (RFC 1071) of a part of `buffer`. */
  export function createChecksum(...parts: { buffer: Buffer; offset: number; length: number }[]): number;
  export function writeChecksum(buffer: Buffer, offset: number, checksum: number): Buffer;
}
