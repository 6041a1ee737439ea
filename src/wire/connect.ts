import { closeSync } from 'node:fs';
import { KemariError, errorFromWire } from '../base/errors.js';
import type { Accept, ConnectOptions, PeerAddress, StandbyConnection } from './contract.js';
import { PROTOCOL_VERSION } from './contract.js';
import { addressText, CONNECT_TIMEOUT_MS, exchange, openConnection } from './control-connection.js';
import { takeDescriptor } from './descriptor.js';
import type { ControlAnswer, ControlRequest } from './messages.js';
import { readAccept } from './read-accept.js';
import { Shape } from './shape.js';

/** How long a standby may take to start its QEMU and compare. */
export const ACCEPT_TIMEOUT_MS = 90_000;

/** `ConnectStandby` of the contract. */
export async function connectStandby(options: ConnectOptions): Promise<StandbyConnection> {
  const { address, security, offer, signal, onProgress } = options;
  const request: ControlRequest = { type: 'protect', protocol: PROTOCOL_VERSION, offer };
  const standby = await exchange({ address, security, signal, timeoutMs: ACCEPT_TIMEOUT_MS }, request, (answer) =>
    readOfferAnswer(answer as ControlAnswer, onProgress),
  );
  const streamFd = await openLink(address, 'stream', standby);
  try {
    return { streamFd, leaseFd: await openLink(address, 'lease', standby), standby };
  } catch (error) {
    closeSync(streamFd);
    throw error;
  }
}

/**
 * What a standby says to an offer; undefined: it says more later. Errors: `KEMARI_PEER_PROTOCOL`, and what it refuses with.
 */
export function readOfferAnswer(answer: ControlAnswer | null, onProgress?: (text: string) => void): Accept | undefined {
  switch (answer?.type) {
    case 'progress':
      onProgress?.(Shape.of('progress', answer).text('text'));
      return undefined;
    case 'refuse':
      throw errorFromWire(answer.error);
    case 'accept':
      return readAccept(answer.accept);
    default:
      throw new KemariError('KEMARI_PEER_PROTOCOL', `the standby answered an offer with ${JSON.stringify(answer)}`);
  }
}

async function openLink(address: PeerAddress, kind: 'stream' | 'lease', { token }: Accept): Promise<number> {
  const fd = takeDescriptor(await openConnection(address, kind, token, CONNECT_TIMEOUT_MS));
  if (fd !== undefined) return fd;
  throw new KemariError('KEMARI_PEER_CONNECT', `kemarid at ${addressText(address)} hung up on the ${kind} connection`);
}
