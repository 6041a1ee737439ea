import { resolve } from 'node:path';
import type { ProtectionEnd, ProtectionEvent } from '../host/contract.js';
import { request, watch } from '../host/control-client.js';
import type { ProtectionOptions } from '../model/protection.js';
import { findOrAttach } from './attach.js';
import { targetOf, type DomainReference } from './context.js';
import type { PeerAddress } from '../wire/contract.js';
import { keyPath } from './security.js';

export interface MigrateOptions {
  /** Where the standby's kemarid listens. */
  readonly address: PeerAddress;
  readonly protection: ProtectionOptions;
  readonly key: string | undefined;
  /** No encryption, and nobody proves who it is. */
  readonly plain: boolean;
  /** Return once the domain is protected, and leave it so. */
  readonly detach: boolean;
  readonly onEvent: (event: ProtectionEvent) => void;
  /**
   * Ends the watching. A domain that is not protected yet is then not protected at all; one that is stays so.
   */
  readonly signal: AbortSignal;
}

export interface MigrateReport extends DomainReference {
  /** `detached`: it goes on. */
  readonly outcome: ProtectionEnd['outcome'] | 'detached';
  readonly text: string;
}

/**
 * Protects a domain on another host, or moves it there, and watches that.
 *
 * Errors: those of `find`, of `watch`, of the handshake.
 */
export async function migrate(root: string, nameOrDomid: string, options: MigrateOptions): Promise<MigrateReport> {
  const { host, port } = options.address;
  const keyFile = options.plain ? null : resolve(keyPath(options.key));
  const domain = await findOrAttach(root, nameOrDomid, {
    onProgress: (text) => {
      options.onEvent({ type: 'connecting', atMs: Date.now(), text });
    },
    signal: options.signal,
  });
  const reference = { domid: domain.domid, name: domain.name };
  const leave = new AbortController();
  const seen = { isProtected: false };
  const onEvent = (event: ProtectionEvent): void => {
    if (event.type === 'state') seen.isProtected ||= event.state === 'protected';
    options.onEvent(event);
    if (seen.isProtected && options.detach) leave.abort();
  };
  const onAbort = (): void => {
    leave.abort();
  };
  options.signal.addEventListener('abort', onAbort);
  if (options.signal.aborted) onAbort();
  try {
    const body = { host, port, keyFile, options: options.protection };
    const end = await watch(targetOf(domain), { verb: 'protect', request: body }, onEvent, leave.signal);
    if (end !== undefined) return { ...reference, ...end };
  } finally {
    options.signal.removeEventListener('abort', onAbort);
  }
  if (seen.isProtected) return { ...reference, outcome: 'detached', text: `it stays protected on ${host}` };
  await request(targetOf(domain), { verb: 'unprotect' });
  return { ...reference, outcome: 'unprotected', text: 'protection was called off before it began' };
}
