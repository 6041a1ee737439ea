import type { BootConfig, DiskConfig, DiskTarget, DomainConfig, VifConfig } from '../model/domain-config.js';
import type { MachineDescription } from '../model/machine-description.js';
import type { DiskGeometry } from '../native/ring.js';
import { KemariError } from '../base/errors.js';
import type { DiskIdentity } from '../model/disk-identity.js';
import type { Offer } from './contract.js';
import { readAddresses, readInstance } from './read-accept.js';
import { Shape } from './shape.js';

const DISK_LIMIT = 64;
const VIF_LIMIT = 64;
const VCPU_LIMIT = 1024;
const FEATURE_LIMIT = 4096;
const BLOCK_LIMIT = 256;
const QUEUE_LIMIT = 64;
const SAMPLE_LIMIT = 256;
const BASE64 = /^[A-Za-z0-9+/]*=*$/;
/** With room for the rest of an offer in a message. */
const BLUEPRINT_LIMIT_LETTERS = 192 << 10;
const TIMEOUT_LIMIT_MS = 3_600_000;

/** Checks what a primary sent, down to the last key; nothing else of it is kept. Errors: `KEMARI_PEER_PROTOCOL`. */
export function readOffer(value: unknown): Offer {
  const shape = Shape.of('offer', value);
  const config = readConfig(shape.inner('config'));
  const disks = shape.list('disks', DISK_LIMIT).map(readDiskIdentity);
  const diskGeometry = shape.list('diskGeometry', DISK_LIMIT).map(readGeometry);
  if (disks.length !== config.disks.length || diskGeometry.length !== config.disks.length) {
    throw new KemariError(
      'KEMARI_PEER_PROTOCOL',
      'offer: disks and diskGeometry need an entry for each disk of config',
    );
  }
  const takeoverTimeoutMs = shape.integer('takeoverTimeoutMs', 1, TIMEOUT_LIMIT_MS);
  const bootFiles = shape.inner('bootFiles');
  return {
    kemariVersion: shape.text('kemariVersion'),
    purpose: shape.oneOf('purpose', ['protect', 'move']),
    config,
    createdAtMs: shape.integer('createdAtMs', 0, Number.MAX_SAFE_INTEGER),
    machine: readMachine(shape.inner('machine')),
    blueprint:
      shape.checked('blueprint', isBlueprint, `null, or base64 of at most ${BLUEPRINT_LIMIT_LETTERS} letters`) ?? null,
    bootFiles: {
      kernel: bootFiles.optionalText('kernel') ?? null,
      ramdisk: bootFiles.optionalText('ramdisk') ?? null,
    },
    disks,
    diskGeometry,
    generation: shape.integer('generation', 0, Number.MAX_SAFE_INTEGER),
    instance: readInstance(shape.inner('instance')),
    addresses: readAddresses(shape),
    policy: shape.text('policy'),
    failover: shape.oneOf('failover', ['manual', 'auto']),
    onSilence: shape.oneOf('onSilence', ['hold', 'continue']),
    takeoverTimeoutMs,
    // The standby must not act while the primary still may.
    leaseMs: shape.integer('leaseMs', 1, takeoverTimeoutMs - 1),
  };
}

const END_ACTIONS = ['destroy', 'restart', 'preserve'] as const;

function readConfig(shape: Shape): DomainConfig {
  return {
    // It becomes a file's name.
    name: shape.checked('name', (value): value is string => matches(value, /^[\w.-]{1,64}$/), 'a name of a domain'),
    uuid: shape.checked('uuid', (value): value is string => matches(value, UUID), 'a UUID'),
    machine: shape.oneOf('machine', ['q35', 'pc', 'microvm', 'xen']),
    accel: shape.oneOf('accel', ['auto', 'kvm', 'tcg']),
    virtio: shape.oneOf('virtio', ['legacy', 'modern']),
    cpu: shape.text('cpu'),
    memoryBytes: shape.integer('memoryBytes', 1 << 20, 2 ** 46),
    vcpus: shape.integer('vcpus', 1, VCPU_LIMIT),
    boot: readBoot(shape.inner('boot')),
    disks: shape.list('disks', DISK_LIMIT).map(readDisk),
    vifs: shape.list('vifs', VIF_LIMIT).map(readVif),
    guestAgent: shape.flag('guestAgent'),
    onPoweroff: shape.oneOf('onPoweroff', END_ACTIONS),
    onReboot: shape.oneOf('onReboot', END_ACTIONS),
    onCrash: shape.oneOf('onCrash', END_ACTIONS),
  };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function readBoot(shape: Shape): BootConfig {
  if (shape.oneOf('from', ['kernel', 'disk']) === 'disk') return { from: 'disk' };
  return {
    from: 'kernel',
    kernel: shape.text('kernel'),
    ramdisk: shape.optionalText('ramdisk'),
    cmdline: shape.text('cmdline'),
  };
}

function readDisk(shape: Shape): DiskConfig {
  return {
    vdev: shape.text('vdev'),
    target: readTarget(shape.inner('target')),
    readOnly: shape.flag('readOnly'),
    discard: shape.flag('discard'),
    cache: shape.oneOf('cache', ['none', 'writeback']),
    queues: shape.integer('queues', 1, QUEUE_LIMIT),
  };
}

function readTarget(shape: Shape): DiskTarget {
  if (shape.oneOf('kind', ['path', 'nbd']) === 'nbd') return { kind: 'nbd', uri: shape.text('uri') };
  return { kind: 'path', path: shape.text('path') };
}

function readVif(shape: Shape): VifConfig {
  return {
    mac: shape.checked('mac', (value): value is string => matches(value, MAC), 'a MAC address'),
    bridge: shape.optionalText('bridge'),
    vifname: shape.optionalText('vifname'),
    queues: shape.integer('queues', 1, QUEUE_LIMIT),
  };
}

function readMachine(shape: Shape): MachineDescription {
  return {
    hypervisor: shape.text('hypervisor'),
    version: shape.text('version'),
    machine: shape.text('machine'),
    accel: shape.oneOf('accel', ['kvm', 'tcg', 'xen']),
    cpuModel: shape.text('cpuModel'),
    cpuFeatures: shape.texts('cpuFeatures', FEATURE_LIMIT),
    vcpus: shape.integer('vcpus', 1, VCPU_LIMIT),
    memoryBytes: shape.integer('memoryBytes', 1, 2 ** 46),
    blocks: shape.list('blocks', BLOCK_LIMIT).map((block) => ({
      name: block.text('name'),
      sizeBytes: block.integer('sizeBytes', 0, Number.MAX_SAFE_INTEGER),
      sha256: block.text('sha256'),
    })),
  };
}

function readDiskIdentity(shape: Shape): DiskIdentity {
  return {
    vdev: shape.text('vdev'),
    sizeBytes: shape.integer('sizeBytes', 1, Number.MAX_SAFE_INTEGER),
    kind: shape.oneOf('kind', ['file', 'device', 'nbd']),
    identity: shape.text('identity'),
    sample: shape.texts('sample', SAMPLE_LIMIT),
  };
}

function readGeometry(shape: Shape): DiskGeometry {
  const bytes = (key: string): number => shape.integer(key, 0, Number.MAX_SAFE_INTEGER);
  return {
    sizeBytes: bytes('sizeBytes'),
    logicalBlockBytes: bytes('logicalBlockBytes'),
    physicalBlockBytes: bytes('physicalBlockBytes'),
    optimalIoBytes: bytes('optimalIoBytes'),
    discardGranularityBytes: bytes('discardGranularityBytes'),
    readOnly: shape.flag('readOnly'),
    canFlush: shape.flag('canFlush'),
    canDiscard: shape.flag('canDiscard'),
    canWriteZeroes: shape.flag('canWriteZeroes'),
  };
}

function isBlueprint(value: unknown): value is string | undefined {
  return (
    value === undefined || (typeof value === 'string' && value.length <= BLUEPRINT_LIMIT_LETTERS && BASE64.test(value))
  );
}
