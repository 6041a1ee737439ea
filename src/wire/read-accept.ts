import { Shape } from './shape.js';
import type { Accept, PeerAddress } from './contract.js';
import type { HostInstance } from '../model/host-instance.js';
import { isToken } from './preamble.js';

/** More addresses than any host has are not asked. */
const ADDRESS_LIMIT = 64;

/** Checks what a standby sent. Errors: `KEMARI_PEER_PROTOCOL`. */
export function readAccept(value: unknown): Accept {
  const shape = Shape.of('accept', value);
  return {
    token: shape.checked('token', isToken, 'a token of 16 bytes'),
    kemariVersion: shape.text('kemariVersion'),
    hostName: shape.text('hostName'),
    instance: readInstance(shape.inner('instance')),
    addresses: readAddresses(shape),
  };
}

export function readInstance(shape: Shape): HostInstance {
  return {
    hostId: shape.text('hostId'),
    pid: shape.integer('pid', 1, 2 ** 31),
    startTicks: shape.text('startTicks'),
    bootId: shape.text('bootId'),
    pidNamespace: shape.text('pidNamespace'),
  };
}

export function readAddresses(shape: Shape): PeerAddress[] {
  return shape.list('addresses', ADDRESS_LIMIT).map((address) => ({
    host: address.text('host'),
    port: address.integer('port', 1, 65_535),
  }));
}
