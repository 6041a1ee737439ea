import { KemariError } from '../../base/errors.js';
import type { DeviceNodes } from '../../ring/xen/device-nodes.js';

/** What a standby needs, beside the configuration, to have a machine and its devices wait. */
export interface RunBlueprint {
  /** The hypervisor's own bytes. */
  readonly machine: Buffer;
  /** In the order of a checkpoint. */
  readonly devices: readonly DeviceNodes[];
}

export function writeRunBlueprint({ machine, devices }: RunBlueprint): Buffer {
  return Buffer.from(JSON.stringify({ machine: machine.toString('base64'), devices }));
}

/** Of a peer that holds the key, and is trusted with the guest's whole state. Errors: `KEMARI_XEN_CONTEXT`. */
export function readRunBlueprint(bytes: Buffer): RunBlueprint {
  try {
    const { machine, devices } = JSON.parse(bytes.toString()) as { machine?: unknown; devices?: unknown };
    if (typeof machine !== 'string' || !Array.isArray(devices)) throw new TypeError('machine or devices are missing');
    return { machine: Buffer.from(machine, 'base64'), devices: devices.map(readDevice) };
  } catch (error) {
    throw new KemariError('KEMARI_XEN_CONTEXT', 'what the primary says of its domain cannot be read', { cause: error });
  }
}

function readDevice(value: unknown): DeviceNodes {
  const { type, device, frontend, backend, toolstack } = value as Partial<Record<keyof DeviceNodes, unknown>>;
  const isPlain = [type, device].every((text) => typeof text === 'string' && /^[a-z0-9]+$/.test(text));
  if (!isPlain || ![frontend, backend, toolstack].every(isTree)) throw new TypeError('a device has no nodes');
  return value as DeviceNodes;
}

function isTree(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).every(([path, text]) => /^[\w-]+(\/[\w-]+)*$/.test(path) && typeof text === 'string');
}
