import { KemariError } from '../../base/errors.js';
import type { XenDomainShape } from '../../native/xen.js';
import type { ToolstackConfig } from './toolstack.js';

/** What another host's Xen makes a domain of that waits for a guest. */
export interface Blueprint {
  readonly domid: number;
  readonly config: ToolstackConfig;
  readonly shape: XenDomainShape;
}

/** JSON, with tags for what that has no literals of. */
export function writeBlueprint(blueprint: Blueprint): Buffer {
  const text = JSON.stringify(blueprint, function (this: Record<string, unknown>, key, value: unknown) {
    const raw = this[key];
    if (typeof raw === 'bigint') return { int: raw.toString() };
    return Buffer.isBuffer(raw) ? { base64: raw.toString('base64') } : value;
  });
  return Buffer.from(text);
}

/** Of a peer that holds the key, and is trusted with the guest's whole state. Errors: `KEMARI_XEN_CONTEXT`. */
export function readBlueprint(bytes: Buffer | undefined): Blueprint {
  try {
    const read = JSON.parse(bytes?.toString() ?? '', (_, value: unknown) => {
      if (typeof value !== 'object' || value === null) return value;
      if ('int' in value && typeof value.int === 'string') return BigInt(value.int);
      return 'base64' in value && typeof value.base64 === 'string' ? Buffer.from(value.base64, 'base64') : value;
    }) as Blueprint;
    if (Number.isInteger(read.domid) && Array.isArray(read.shape.frames)) return read;
  } catch (error) {
    throw new KemariError('KEMARI_XEN_CONTEXT', 'what the primary says of its domain cannot be read', { cause: error });
  }
  throw new KemariError('KEMARI_XEN_CONTEXT', 'the primary does not say what its domain is made of');
}
