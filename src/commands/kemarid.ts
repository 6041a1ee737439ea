import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { KemariError } from '../base/errors.js';
import { assert } from '../base/assert.js';
import { checkDomainFiles } from '../host/domain-files.js';
import { readRecord } from '../host/domain-record.js';
import { settledClaimOf } from '../host/claim.js';
import { instanceOf, refuseClone } from '../host/host-id.js';
import type { KemaridRecord } from '../host/kemarid-record.js';
import { tryLockFile, unlock } from '../host/lock-file.js';
import type { Registry } from '../host/registry.js';
import { armFault } from '../native/fault.js';
import { DEFAULT_PORT, type Accept, type Offer, type PeerAddress, type Security } from '../wire/contract.js';
import { WireServer, type OfferSession } from '../wire/server.js';
import { openHost } from './context.js';
import { RestoreProcess } from './kemarid/restore-process.js';
import { Protections } from './kemarid/protections.js';
import { serveXenDevices } from './kemarid/xen-devices.js';
import { ownAddresses } from './own-addresses.js';

export interface KemaridOptions {
  readonly root: string;
  readonly listen: readonly PeerAddress[];
  readonly security: Security;
  /** Makes sure that another host is off; without it no domain may take over by itself. */
  readonly fence: { readonly command: string; readonly timeoutMs: number } | undefined;
  /** Accept guests with more memory than this host has left. */
  readonly overcommit: boolean;
  readonly version: string;
  readonly logger: Logger;
  readonly onListening: (ports: readonly number[]) => void;
  /** Ends it. Domains, and what stands by, live on. */
  readonly terminate: AbortSignal;
}

/**
 * The host's ear: accepts protections and moves, starts a restore process for each, and answers whether a process of this
 * host runs. Returns when it was told to end.
 *
 * Errors: `KEMARI_KEMARID_RUNS`, `KEMARI_LISTEN`, those of `armFault` and `openHost`.
 */
export async function runKemarid(options: KemaridOptions): Promise<void> {
  armFault(process.env);
  const registry = openHost(options.root);
  const { host } = registry;
  const lock = tryLockFile(host.kemarid, { create: true });
  if (lock === undefined) {
    throw new KemariError('KEMARI_KEMARID_RUNS', `a kemarid of ${host.root} runs already; one is enough for a host`);
  }
  try {
    const endXenDevices = await serveXenDevices(options.logger);
    try {
      await serve(options, registry);
    } finally {
      await endXenDevices();
    }
  } finally {
    writeFileSync(host.kemarid, '');
    unlock(lock);
  }
}

async function serve(options: KemaridOptions, registry: Registry): Promise<void> {
  const { logger, security, terminate, listen } = options;
  const protections = new Protections((text) => {
    logger.warn({ event: 'link' }, text);
  });
  const server = await WireServer.listen(listen, security, {
    offer: (offer, session) => accept(options, registry, protections, offer, session),
    alive: async (question) => {
      const answer = await settledClaimOf(registry.host, question);
      logger.info({ event: 'peer-alive', question, ...answer }, `asked whether a process runs: ${answer.reason}`);
      return answer;
    },
    link: (kind, token, fd) => protections.link(kind, token, fd),
    refused: (peer, why) => {
      logger.warn({ event: 'refused', peer }, `${peer}: ${why}`);
    },
  });
  const record: KemaridRecord = {
    ...{ pid: process.pid, port: server.ports[0] ?? DEFAULT_PORT, plain: security.kind === 'plain' },
  };
  // In place: the lock is the file's.
  writeFileSync(registry.host.kemarid, JSON.stringify(record));
  options.onListening(server.ports);
  await new Promise<void>((resolve) => {
    terminate.addEventListener('abort', () => {
      resolve();
    });
    if (terminate.aborted) resolve();
  });
  protections.close();
  await server.close();
}

async function accept(
  options: KemaridOptions,
  registry: Registry,
  protections: Protections,
  offer: Offer,
  session: OfferSession,
): Promise<Accept> {
  const { logger, security, fence, overcommit, version } = options;
  const { config } = offer;
  logger.info({ event: 'offer', peer: session.peer, domain: config.name }, `${session.peer} offers "${config.name}"`);
  refuseClone(registry.host, offer.instance);
  if (offer.failover === 'auto' && fence === undefined) {
    throw new KemariError(
      'KEMARI_NO_FENCE',
      'failover "auto" needs a way to make sure that the other host is off: start the standby\'s kemarid with --fence-cmd, ' +
        'or protect with --failover manual',
    );
  }
  checkDomainFiles(config, `the offer of domain "${config.name}"`);
  session.progress('finding a place on the standby');
  const domain = await registry.register(config);
  const token = randomBytes(16).toString('hex');
  const addresses = ownAddresses(registry.host);
  const restore = await RestoreProcess.start(
    registry,
    domain,
    {
      ...{ order: 'stand-by', offer, token, overcommit, fence: fence ?? null, ownAddresses: addresses },
      key: security.kind === 'psk' ? security.key.toString('hex') : null,
    },
    {
      onProgress: (text) => {
        session.progress(`standby: ${text}`);
      },
      signal: session.signal,
    },
  );
  protections.expect(token, restore);
  const { deviceModel } = readRecord(domain.paths);
  assert(deviceModel !== undefined, 'a process that has said that it is ready has recorded itself');
  const instance = instanceOf(registry.host, deviceModel.pid);
  if (instance?.startTicks !== deviceModel.startTicks) {
    throw new KemariError('KEMARI_DM_DIED', `the restore process of domain "${config.name}" has ended already`);
  }
  logger.info({ event: 'accepted', domain: config.name, domid: domain.domid }, `stands by for "${config.name}"`);
  return { token, kemariVersion: version, hostName: hostname(), instance, addresses };
}
