import { KemariError } from '../base/errors.js';
import type { MachineDescription } from '../model/machine-description.js';
import type { DiskIdentity } from '../model/disk-identity.js';
import { PROTOCOL_VERSION, type Offer } from './contract.js';

/** One thing that is not the same on both hosts. */
export interface Difference {
  readonly what: string;
  readonly primary: string;
  readonly standby: string;
}

/** Features of a CPU, or memory blocks, that a message names before it only counts. */
const NAMED_LIMIT = 8;

/**
 * What of a machine is not the same, and would make a checkpoint of the one unfit for the other. QEMU's device state has no
 * promise across versions without a versioned machine, and the machine's name says nothing of what we add: both must be equal.
 */
export function compareMachines(primary: MachineDescription, standby: MachineDescription): Difference[] {
  const found: Difference[] = [];
  const compare = (what: string, key: Exclude<keyof MachineDescription, 'cpuFeatures' | 'blocks'>): void => {
    if (primary[key] === standby[key]) return;
    found.push({ what, primary: String(primary[key]), standby: String(standby[key]) });
  };
  compare('hypervisor', 'hypervisor');
  compare(`version of ${primary.hypervisor}`, 'version');
  compare('machine type', 'machine');
  compare('accelerator', 'accel');
  compare('CPU model', 'cpuModel');
  compare('number of vCPUs', 'vcpus');
  compare('guest memory in bytes', 'memoryBytes');
  return [...found, ...compareFeatures(primary, standby), ...compareBlocks(primary, standby)];
}

function compareFeatures(primary: MachineDescription, standby: MachineDescription): Difference[] {
  const without = (all: readonly string[], others: readonly string[]): string[] => {
    const known = new Set(others);
    return all.filter((feature) => !known.has(feature));
  };
  const onlyPrimary = without(primary.cpuFeatures, standby.cpuFeatures);
  const onlyStandby = without(standby.cpuFeatures, primary.cpuFeatures);
  if (onlyPrimary.length === 0 && onlyStandby.length === 0) return [];
  return [
    { what: 'CPU features', primary: `only here ${some(onlyPrimary)}`, standby: `only here ${some(onlyStandby)}` },
  ];
}

function some(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  const more = names.length > NAMED_LIMIT ? ` and ${names.length - NAMED_LIMIT} more` : '';
  return names.slice(0, NAMED_LIMIT).join(', ') + more;
}

function compareBlocks(primary: MachineDescription, standby: MachineDescription): Difference[] {
  const text = ({ blocks }: MachineDescription, name: string): string => {
    const block = blocks.find((each) => each.name === name);
    return block === undefined ? 'none' : `${block.sizeBytes} bytes, SHA-256 ${block.sha256.slice(0, 16)}`;
  };
  const names = new Set([...primary.blocks, ...standby.blocks].map(({ name }) => name));
  return [...names]
    .map((name) => ({ what: `memory block ${name}`, primary: text(primary, name), standby: text(standby, name) }))
    .filter((block) => block.primary !== block.standby)
    .slice(0, NAMED_LIMIT);
}

/** Kernel and ramdisk, by content: after a reboot on the other host the guest must find the same. */
export function compareBootFiles(primary: Offer['bootFiles'], standby: Offer['bootFiles']): Difference[] {
  return (['kernel', 'ramdisk'] as const)
    .filter((file) => primary[file] !== standby[file])
    .map((file) => ({
      what: `${file} (SHA-256)`,
      primary: primary[file]?.slice(0, 16) ?? 'none',
      standby: standby[file]?.slice(0, 16) ?? 'none',
    }));
}

/** Whether each disk is the same storage on both hosts. */
export function compareDisks(primary: readonly DiskIdentity[], standby: readonly DiskIdentity[]): Difference[] {
  return primary.flatMap((disk, index) => {
    const own = standby[index];
    if (own === undefined) return [{ what: `disk ${disk.vdev}`, primary: disk.kind, standby: 'none' }];
    const what = (text: string): string => `disk ${disk.vdev}: ${text}`;
    if (disk.kind !== own.kind) return [{ what: what('kind of storage'), primary: disk.kind, standby: own.kind }];
    if (disk.sizeBytes !== own.sizeBytes) {
      return [{ what: what('size'), primary: `${disk.sizeBytes} bytes`, standby: `${own.sizeBytes} bytes` }];
    }
    if (disk.identity !== own.identity) {
      return [{ what: what('identity'), primary: disk.identity || 'none', standby: own.identity || 'none' }];
    }
    if (!sameContent(disk.sample, own.sample)) {
      return [{ what: what('content of sampled blocks'), primary: some(disk.sample), standby: some(own.sample) }];
    }
    return [];
  });
}

/** The guest writes while the two look, so some blocks may differ; of two disks that are not the same hardly any are equal. */
function sameContent(primary: readonly string[], standby: readonly string[]): boolean {
  const equal = primary.filter((hash, index) => hash === standby[index]).length;
  return primary.length === standby.length && 2 * equal >= primary.length;
}

/**
 * Refuses where anything differs, and names all of it with both values.
 *
 * Errors: `KEMARI_HANDSHAKE_MISMATCH`, whose details hold the differences.
 */
export function refuseDifferences(domain: string, differences: readonly Difference[]): void {
  if (differences.length === 0) return;
  const list = differences.map(({ what, primary, standby }) => `${what}: ${primary} on the primary, ${standby} here`);
  throw new KemariError(
    'KEMARI_HANDSHAKE_MISMATCH',
    `the standby cannot go on where domain "${domain}" would leave off, because not all is the same: ${list.join('; ')}`,
    { details: { differences } },
  );
}

/** Errors: `KEMARI_HANDSHAKE_PROTOCOL`. */
export function checkProtocol(theirs: unknown): void {
  if (theirs === PROTOCOL_VERSION) return;
  throw new KemariError(
    'KEMARI_HANDSHAKE_PROTOCOL',
    `the peer speaks version ${JSON.stringify(theirs)} of kemari's protocol, this host ${PROTOCOL_VERSION}: ` +
      'install the same kemari on both',
  );
}
