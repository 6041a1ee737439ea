import { readFileSync } from 'node:fs';
import { KemariError } from '../../base/errors.js';
import { assert } from '../../base/assert.js';
import type { ProtectionRequest } from '../../host/contract.js';
import { hashBootFiles } from '../../host/boot-hashes.js';
import { thisInstance } from '../../host/host-id.js';
import { readKey } from '../../host/key-file.js';
import type { HostPaths } from '../../host/paths.js';
import { isRunning, identifyProcess } from '../../host/process-identity.js';
import type { DomainConfig } from '../../model/domain-config.js';
import { LEASE_SHARE, linkConnectTimeoutMs, policyText, type ProtectionOptions } from '../../model/protection.js';
import { addon } from '../../native/addon.js';
import type { Capture } from '../../native/capture.js';
import type { LinkSender, SenderEvent } from '../../native/link.js';
import { identifyDisks } from '../../storage/identity.js';
import { connectStandby } from '../../wire/connect.js';
import type { Offer, Security, StandbyConnection } from '../../wire/contract.js';
import { askProcess } from '../ask-process.js';
import { ownAddresses } from '../own-addresses.js';
import { Ownership, type OwnershipPeer } from '../ownership.js';
import type { FoundStandby, ProtectionWorld } from './domain-protection.js';
import type { MachineRun } from './machine-run.js';
import type { ProtectionOutcome } from './protection-parts.js';

/** How long one address may take to say whether the standby's process runs. */
const ASK_PEER_TIMEOUT_MS = 1_000;

export interface FinderOptions {
  readonly host: HostPaths;
  readonly config: DomainConfig;
  readonly createdAtMs: number;
}

/** Finds standbys over the network: what protection needs of the world, for real. */
export class StandbyFinder implements ProtectionWorld {
  readonly #options: FinderOptions;
  readonly #ownership: Ownership;

  constructor(options: FinderOptions) {
    this.#options = options;
    this.#ownership = new Ownership(options.host);
  }

  async findStandby(
    request: ProtectionRequest,
    run: MachineRun,
    onProgress: (text: string) => void,
    signal: AbortSignal,
  ): Promise<FoundStandby> {
    const { config } = this.#options;
    const security = securityOf(request);
    const address = { host: request.host, port: request.port };
    // Before anyone is asked: should this host die any time from here on, its record says who may have gone on.
    this.#ownership.protect(config, { hostName: request.host, addresses: [request.host] });
    try {
      const offer = await this.#offer(request, run);
      const connection = await connectStandby({ address, security, offer, signal, onProgress });
      return this.#found(connection, { ...request, security }, run, offer);
    } catch (error) {
      this.#ownership.endProtection(config);
      throw error;
    }
  }

  openCapture(run: MachineRun, link: LinkSender): Capture {
    const { machine, devices } = run;
    assert(machine !== undefined, 'only a machine that runs is captured');
    return new addon.Capture({
      ...{ gate: devices.gate, devices: devices.all, console: devices.consoleDevice, link },
      ...machine.captureSource(),
    });
  }

  machineRuns(pid: number | undefined): boolean {
    if (pid === undefined) return true; // its end is told by the machine itself
    const identity = identifyProcess(pid);
    return identity !== undefined && isRunning(identity);
  }

  async #offer({ options }: ProtectionRequest, run: MachineRun): Promise<Offer> {
    const { host, config, createdAtMs } = this.#options;
    const { machine, devices } = run;
    assert(machine !== undefined, 'only a machine that runs is protected');
    const [description, blueprint, bootFiles, disks] = await Promise.all([
      machine.describe(),
      run.blueprint(),
      hashBootFiles(config),
      identifyDisks(config.disks),
    ]);
    return {
      kemariVersion: ownVersion(),
      ...{ purpose: options.purpose, config, createdAtMs, machine: description, bootFiles, disks },
      blueprint: blueprint?.toString('base64') ?? null,
      diskGeometry: devices.diskGeometries(),
      generation: this.#ownership.generation(config.uuid),
      instance: thisInstance(host),
      addresses: ownAddresses(host),
      policy: policyText(options),
      ...{ failover: options.failover, onSilence: options.onSilence },
      takeoverTimeoutMs: options.takeoverTimeoutMs,
      leaseMs: Math.floor(options.takeoverTimeoutMs * LEASE_SHARE),
    };
  }

  #found(
    connection: StandbyConnection,
    { security, options }: { readonly security: Security; readonly options: ProtectionOptions },
    run: MachineRun,
    offer: Offer,
  ): FoundStandby {
    const { config } = this.#options;
    const { streamFd, leaseFd, standby } = connection;
    const addressSpaceBytes = run.machine?.addressSpaceBytes ?? config.memoryBytes;
    const peer: OwnershipPeer = { hostName: standby.hostName, addresses: standby.addresses.map(({ host }) => host) };
    this.#ownership.protect(config, peer);
    return {
      name: standby.hostName,
      encrypted: security.kind === 'psk',
      openLink: (onEvent: (event: SenderEvent) => void): LinkSender =>
        new addon.LinkSender({
          ...{ streamFd, leaseFd, onEvent, leaseMs: offer.leaseMs, ramBytes: addressSpaceBytes },
          connectTimeoutMs: linkConnectTimeoutMs(offer),
          key: security.kind === 'psk' ? security.key : undefined,
          token: Buffer.from(standby.token, 'hex'),
          compress: options.compress,
          deviceCount: run.devices.all.length,
          gate: run.devices.gate,
        }),
      askPeer: () =>
        askProcess({
          ...{ addresses: standby.addresses, security, timeoutMs: ASK_PEER_TIMEOUT_MS },
          question: { domainUuid: config.uuid, instance: standby.instance, generation: offer.generation },
        }),
      goesOnAlone: () => {
        this.#ownership.goOnAlone(config, offer.generation + 1);
      },
      forget: (outcome) => {
        this.#forget(outcome, offer.generation, peer);
        return Promise.resolve();
      },
    };
  }

  #forget({ outcome, standbyForgot }: ProtectionOutcome, generation: number, peer: OwnershipPeer): void {
    const { config } = this.#options;
    if (outcome === 'unprotected') this.#ownership.endProtection(config);
    else if (outcome === 'handed-over') this.#ownership.gaveAway(config, generation + 1, peer);
    // Where the standby may have gone on, or is to, the record stays: "create" here asks for the operator's word.
    else if (standbyForgot) this.#ownership.release(config);
  }
}

/** Errors: `KEMARI_KEY_FILE`. */
function securityOf({ keyFile }: ProtectionRequest): Security {
  return keyFile === null ? { kind: 'plain' } : { kind: 'psk', key: readKey(keyFile) };
}

/** package.json's, four folders above the built file. */
function ownVersion(): string {
  const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { version?: unknown };
  if (typeof version === 'string') return version;
  throw new KemariError('KEMARI_INTERNAL', 'package.json has no version');
}
