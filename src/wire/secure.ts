import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { KemariError, messageOf } from '../base/errors.js';

/** The identity that goes with the key on control connections; stream and lease have their own. */
export const CONTROL_IDENTITY = 'kemari control';

/**
 * TLS 1.3 with nothing but the key: no certificate is there, so who does not have the key gets no further than his hello.
 * OpenSSL takes a key from a callback only for a suite with SHA-256 (SSL_CTX_set_psk_server_callback(3)).
 */
export const TLS_OPTIONS: SecureContextOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
};

/** Why a server that shows a certificate instead of the key is refused. */
const NO_CERTIFICATES = 'the peer proved itself by a certificate, not by the key';

/**
 * The client's side of TLS on a connected socket.
 *
 * Errors: `KEMARI_PEER_KEY` when the peer does not have this key, or speaks no TLS.
 */
export async function secureClient(socket: Socket, key: Buffer, peer: string): Promise<TLSSocket> {
  const secure = connect({
    ...TLS_OPTIONS,
    socket,
    // Not called where the key was agreed on: nobody's certificate is any good.
    checkServerIdentity: () => new Error(NO_CERTIFICATES),
    pskCallback: () => ({ psk: key, identity: CONTROL_IDENTITY }),
  });
  try {
    const closed = once(secure, 'close').then(() => {
      throw new Error('it hung up');
    });
    await Promise.race([once(secure, 'secureConnect'), closed]);
    closed.catch(() => undefined);
    return secure;
  } catch (error) {
    secure.destroy();
    throw new KemariError(
      'KEMARI_PEER_KEY',
      `kemarid at ${peer} and this host do not agree on a key: ${messageOf(error)}; both need the same key file ` +
        '("kemari keygen" makes one), or both --plain',
      { cause: error },
    );
  }
}
