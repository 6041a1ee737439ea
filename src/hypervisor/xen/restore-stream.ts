import type { XenDomainShape } from '../../native/xen.js';

/**
 * A stream that `xl restore` makes a domain of: configuration, processor, and memory where the guest has it, but nothing in that
 * memory. It is what Xen 4.17's own tools write and read (xl_saverestore.c; docs/specs/libxl-migration-stream.pandoc version 2,
 * docs/specs/libxc-migration-stream.pandoc version 3), so that a domain is made by the host's toolstack and no other.
 */
export function restoreStream(configuration: object, shape: XenDomainShape): Buffer {
  return Buffer.concat([xlHeader(JSON.stringify(configuration)), libxlStream(libxcStream(shape))]);
}

const XL_MAGIC = 'Xen saved domain, xl format\n \0 \r';
const XL_BYTE_ORDER = 0x01020304;
/** The configuration is JSON; a libxl stream of version 2 follows. */
const XL_MANDATORY_FLAGS = 0b11;

function xlHeader(json: string): Buffer {
  const configuration = Buffer.from(`${json}\0`);
  const optional = Buffer.concat([uint32(configuration.length), configuration]);
  const magic = Buffer.alloc(32);
  magic.write(XL_MAGIC, 'latin1');
  return Buffer.concat([magic, uint32(XL_BYTE_ORDER, XL_MANDATORY_FLAGS, 0, optional.length), optional]);
}

const LIBXL_CONTEXT = 1;
const END = 0;

function libxlStream(libxc: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.write('LibxlFmt', 'latin1');
  header.writeUInt32BE(2, 8);
  return Buffer.concat([header, record(LIBXL_CONTEXT), libxc, record(END)]);
}

const PAGE_DATA = 0x01;
const X86_TSC_INFO = 0x08;
const HVM_CONTEXT = 0x09;
const HVM_PARAMS = 0x0a;
const STATIC_DATA_END = 0x10;
const X86_CPUID_POLICY = 0x11;
const X86_MSR_POLICY = 0x12;

const DOMAIN_HVM = 2;
const PAGE_SHIFT = 12;
const XEN_VERSION = [4, 17] as const;
/** In the top bits of a page's number: memory, whose contents do not follow. */
const PAGE_ALLOCATED_ONLY = 0xen << 60n;
const PAGES_PER_RECORD = 1024;

/** Set by the toolstack itself, or, the first, by the guest: they come with the guest's state. */
const NOT_BEFOREHAND: ReadonlySet<number> = new Set([0, 2, 18]);

function libxcStream(shape: XenDomainShape): Buffer {
  const { tsc } = shape;
  const header = Buffer.alloc(24);
  header.fill(0xff, 0, 8);
  header.write('XENF', 8, 'latin1');
  header.writeUInt32BE(3, 12);
  const domain = Buffer.alloc(16);
  domain.writeUInt32LE(DOMAIN_HVM, 0);
  domain.writeUInt16LE(PAGE_SHIFT, 4);
  domain.writeUInt32LE(XEN_VERSION[0], 8);
  domain.writeUInt32LE(XEN_VERSION[1], 12);
  return Buffer.concat([
    header,
    domain,
    record(X86_CPUID_POLICY, shape.cpuidPolicy),
    record(X86_MSR_POLICY, shape.msrPolicy),
    record(STATIC_DATA_END),
    record(X86_TSC_INFO, Buffer.concat([uint32(tsc.mode, tsc.khz), uint64(tsc.elapsedNs), uint32(tsc.incarnation, 0)])),
    ...pageRecords(shape.frames),
    record(HVM_PARAMS, parameters(shape)),
    record(HVM_CONTEXT, shape.hvmContext),
    record(END),
  ]);
}

function pageRecords(ranges: XenDomainShape['frames']): Buffer[] {
  const records: Buffer[] = [];
  for (const [first, count] of ranges) {
    for (let done = 0; done < count; done += PAGES_PER_RECORD) {
      const length = Math.min(PAGES_PER_RECORD, count - done);
      const frames = Array.from({ length }, (_, i) => PAGE_ALLOCATED_ONLY | BigInt(first + done + i));
      records.push(record(PAGE_DATA, Buffer.concat([uint32(length, 0), uint64(...frames)])));
    }
  }
  return records;
}

function parameters(shape: XenDomainShape): Buffer {
  const wanted = shape.parameters.filter(({ index, value }) => value !== 0n && !NOT_BEFOREHAND.has(index));
  return Buffer.concat([uint32(wanted.length, 0), ...wanted.map(({ index, value }) => uint64(BigInt(index), value))]);
}

/** Padded to eight bytes; its length does not count them. */
function record(type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([uint32(type, body.length), body, Buffer.alloc(-body.length & 7)]);
}

function uint32(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => buffer.writeUInt32LE(value, 4 * i));
  return buffer;
}

function uint64(...values: readonly bigint[]): Buffer {
  const buffer = Buffer.alloc(8 * values.length);
  values.forEach((value, i) => buffer.writeBigUInt64LE(value, 8 * i));
  return buffer;
}
