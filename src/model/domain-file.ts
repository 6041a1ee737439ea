import { isAbsolute, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { KemariError, messageOf } from '../base/errors.js';
import { suggest } from '../base/suggest.js';
import { deriveUuid } from './derive.js';
import { DISK_QUEUES_LIMIT, parseDiskSpec } from './disk-spec.js';
import type { BootConfig, DiskConfig, DomainConfig, VifConfig } from './domain-config.js';
import { Fields } from './fields.js';
import { Problems } from './problems.js';
import { vdevIndex } from './vdev.js';
import { parseVifSpec, VIF_QUEUES_LIMIT } from './vif-spec.js';
import { AGREED_KEYS, KNOWN_KEYS, UNSUPPORTED_KEYS } from './xl-keys.js';

/** A domain file is a page of text; anything this long is something else. */
export const DOMAIN_FILE_LIMIT_BYTES = 1 << 18;

const MIB = 1 << 20;
/** Guest memory, [16 MiB, 4 TiB]. */
const MEMORY_LOWEST_MIB = 16;
const MEMORY_HIGHEST_MIB = 4 << 20;
/** What QEMU's `pc` and `microvm` machines take. */
const VCPUS_HIGHEST = 255;
const DISKS_LIMIT = 16;
const VIFS_LIMIT = 8;
/** Linux on x86 keeps 2048 bytes with the final zero (COMMAND_LINE_SIZE). */
const CMDLINE_LIMIT_BYTES = 2047;
const END_ACTIONS = ['destroy', 'restart', 'preserve'] as const;
const END_ACTIONS_RESTART = ['restart', 'destroy', 'preserve'] as const;

/** Where a domain file comes from. */
export interface DomainFileSource {
  /** Its name, for messages. */
  readonly name: string;
  /** Absolute path of its folder: relative paths in it start there. */
  readonly folder: string;
}

/**
 * Reads a domain file: TOML with xl.cfg's keys and xl's disk and vif strings. Looks at no other file.
 *
 * Errors: `KEMARI_CONFIG_SYNTAX` when it is no TOML, `KEMARI_CONFIG_INVALID` with all that is wrong. Nothing else,
 * whatever the text.
 */
export function parseDomainFile(text: string, source: DomainFileSource): DomainConfig {
  const problems = new Problems();
  const table = readToml(text, source);
  const fields = new Fields(table, problems);
  checkKeys(fields, Object.keys(table), problems);
  const config = readDomain(fields, source.folder, problems);
  if (config === undefined || !problems.none) throw problems.toError(source.name);
  return config;
}

function readToml(text: string, source: DomainFileSource): Record<string, unknown> {
  const bytes = Buffer.byteLength(text);
  if (bytes > DOMAIN_FILE_LIMIT_BYTES) {
    throw new KemariError(
      'KEMARI_CONFIG_SYNTAX',
      `${source.name} has ${bytes} bytes; a domain file has at most ${DOMAIN_FILE_LIMIT_BYTES}`,
    );
  }
  try {
    return parse(text, { integersAsBigInt: 'asNeeded' });
  } catch (error) {
    const details = error instanceof TomlError ? { line: error.line, column: error.column } : {};
    throw new KemariError('KEMARI_CONFIG_SYNTAX', `${source.name} is no TOML: ${messageOf(error)}`, {
      cause: error,
      details,
    });
  }
}

function checkKeys(fields: Fields, keys: readonly string[], problems: Problems): void {
  const known = [...KNOWN_KEYS, ...Object.keys(AGREED_KEYS)];
  for (const key of keys) {
    if ((KNOWN_KEYS as readonly string[]).includes(key)) continue;
    const agreed = Object.hasOwn(AGREED_KEYS, key) ? AGREED_KEYS[key] : undefined;
    const value = fields.get(key);
    if (agreed !== undefined) {
      if (!agreed.values.includes(plainText(value))) {
        problems.add(key, value, `${agreed.values.join(', ')} (${agreed.why}), or leave it out`);
      }
    } else if (UNSUPPORTED_KEYS.has(key)) {
      problems.add(key, value, 'leave it out: kemari does not support this key of xl');
    } else {
      const meant = suggest(key, known);
      problems.add(
        key,
        value,
        meant === undefined ? `one of the keys ${KNOWN_KEYS.join(', ')}` : `did you mean "${meant}"?`,
      );
    }
  }
}

/** A value as AGREED_KEYS writes it. */
function plainText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? '[]' : 'a list';
  if (typeof value === 'boolean') return value ? '1' : '0';
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function readDomain(fields: Fields, folder: string, problems: Problems): DomainConfig | undefined {
  const name = readName(fields, problems);
  const memory = fields.integer('memory', MEMORY_LOWEST_MIB, MEMORY_HIGHEST_MIB, ' (MiB)');
  if (!fields.has('memory')) problems.add('memory', undefined, 'the memory of the guest in MiB, as memory = 512');
  const vcpus = fields.integer('vcpus', 1, VCPUS_HIGHEST, '') ?? 1;
  // There is neither ballooning nor CPU hot-plug: the most is what there is.
  checkEqual(fields, 'maxmem', memory, problems);
  checkEqual(fields, 'maxvcpus', vcpus, problems);
  const machine = fields.choice('machine', ['q35', 'pc', 'microvm']);
  const accel = fields.choice('accel', ['auto', 'kvm', 'tcg']);
  const virtio = fields.choice('virtio_version', ['legacy', 'modern']);
  const cpu = readCpu(fields, problems);
  const disks = readDisks(fields, folder, problems);
  const boot = readBoot(fields, folder, problems, disks.length);
  checkType(fields, boot, problems);
  if (machine === 'microvm' && boot?.from === 'disk') {
    problems.add('machine', machine, 'q35 or pc, or a kernel: the firmware of microvm boots no disk');
  }
  const vifs = readVifs(fields, name, problems);
  const uuid = readUuid(fields, name, problems);
  const guestAgent = fields.flag('guest_agent');
  const onPoweroff = fields.choice('on_poweroff', END_ACTIONS);
  const onReboot = fields.choice('on_reboot', END_ACTIONS_RESTART);
  const onCrash = fields.choice('on_crash', END_ACTIONS);
  if (memory === undefined || boot === undefined) return undefined;
  const memoryBytes = memory * MIB;
  const devices = { virtio, disks, vifs, guestAgent };
  return { name, uuid, machine, accel, cpu, memoryBytes, vcpus, boot, ...devices, onPoweroff, onReboot, onCrash };
}

function readName(fields: Fields, problems: Problems): string {
  const name = fields.get('name');
  const allowed = 'a name of 1 to 64 of A-Z a-z 0-9 _ . - that starts with none of . - and has a letter';
  if (typeof name === 'string' && /^(?=.*[A-Za-z_])[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  problems.add('name', name, allowed);
  return '';
}

function readUuid(fields: Fields, name: string, problems: Problems): string {
  const uuid = fields.get('uuid');
  if (uuid === undefined) return deriveUuid(name);
  if (typeof uuid === 'string' && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid))
    return uuid.toLowerCase();
  problems.add('uuid', uuid, 'hexadecimal digits in groups of 8-4-4-4-12');
  return '';
}

/** QEMU's CPU model with its flags; `default` is chosen when it is known whether KVM works. */
function readCpu(fields: Fields, problems: Problems): string {
  const cpu = fields.text('cpu') ?? 'default';
  if (!/^[A-Za-z0-9_.-]{1,64}(?:,[A-Za-z0-9_.+=-]{1,64}){0,64}$/.test(cpu)) {
    problems.add('cpu', cpu, "default, or one of QEMU's CPU models, as max, host, qemu64 or max,-avx512f");
  }
  return cpu;
}

function checkEqual(fields: Fields, key: string, expected: number | undefined, problems: Problems): void {
  const value = fields.get(key);
  if (value === undefined || expected === undefined || plainText(value) === String(expected)) return;
  problems.add(
    key,
    value,
    `${expected}, the same as ${key.slice('max'.length) === 'mem' ? 'memory' : 'vcpus'}, or leave it out`,
  );
}

function readDisks(fields: Fields, folder: string, problems: Problems): DiskConfig[] {
  const defaultQueues = fields.integer('disk_queues', 1, DISK_QUEUES_LIMIT, '') ?? 1;
  const disks: DiskConfig[] = [];
  const keyOfPlace = new Map<number, string>();
  for (const [index, spec] of fields.list('disk', DISKS_LIMIT).entries()) {
    const key = `disk[${index}]`;
    const disk = parseDiskSpec(spec, { key, folder, defaultQueues, problems });
    if (disk === undefined) continue;
    disks.push(disk);
    const place = vdevIndex(disk.vdev);
    if (place === undefined) continue;
    const other = keyOfPlace.get(place);
    if (other !== undefined) problems.add(`${key}.vdev`, disk.vdev, `another place: ${other} is the same disk`);
    keyOfPlace.set(place, key);
  }
  return disks.sort((a, b) => (vdevIndex(a.vdev) ?? 0) - (vdevIndex(b.vdev) ?? 0));
}

function readVifs(fields: Fields, domainName: string, problems: Problems): VifConfig[] {
  const defaultQueues = fields.integer('vif_queues', 1, VIF_QUEUES_LIMIT, '') ?? 1;
  const vifs: VifConfig[] = [];
  for (const [index, spec] of fields.list('vif', VIFS_LIMIT).entries()) {
    const key = `vif[${index}]`;
    const vif = parseVifSpec(spec, { key, index, domainName, defaultQueues, problems });
    if (vifs.some(({ mac }) => mac === vif.mac)) problems.add(`${key}.mac`, vif.mac, 'an address no other vif has');
    if (vif.vifname !== undefined && vifs.some(({ vifname }) => vifname === vif.vifname)) {
      problems.add(`${key}.vifname`, vif.vifname, 'a name no other vif has');
    }
    vifs.push(vif);
  }
  return vifs;
}

function readBoot(fields: Fields, folder: string, problems: Problems, diskCount: number): BootConfig | undefined {
  const inFolder = (path: string): string => (isAbsolute(path) ? path : resolve(folder, path));
  const order = fields.text('boot');
  if (order !== undefined && order !== 'c') problems.add('boot', order, '"c" (the first disk), or leave it out');
  const kernel = fields.text('kernel');
  const ramdisk = fields.text('ramdisk');
  const cmdline = readCmdline(fields, problems);
  if (kernel !== undefined) {
    if (kernel === '') problems.add('kernel', kernel, "the path of the guest's kernel");
    const initrd = ramdisk === undefined || ramdisk === '' ? undefined : inFolder(ramdisk);
    return { from: 'kernel', kernel: inFolder(kernel), ramdisk: initrd, cmdline };
  }
  for (const key of ['ramdisk', 'cmdline', 'root', 'extra']) {
    if (fields.has(key)) problems.add(key, fields.get(key), 'only together with kernel');
  }
  if (diskCount === 0 && fields.list('disk', DISKS_LIMIT).length === 0) {
    problems.add('kernel', fields.get('kernel'), 'a kernel to boot, or a disk with a boot loader');
  }
  return { from: 'disk' };
}

/** As xl: `cmdline`, or `root` and `extra` joined; xl ignores the latter two beside the first, here that is refused. */
function readCmdline(fields: Fields, problems: Problems): string {
  const cmdline = fields.text('cmdline');
  const root = fields.text('root');
  const extra = fields.text('extra');
  if (cmdline !== undefined && (root !== undefined || extra !== undefined)) {
    problems.add('cmdline', cmdline, 'either cmdline, or root and extra');
  }
  const joined = cmdline ?? [root === undefined ? '' : `root=${root}`, extra ?? ''].filter(Boolean).join(' ');
  const bytes = Buffer.byteLength(joined);
  if (bytes > CMDLINE_LIMIT_BYTES) {
    const key = cmdline === undefined ? 'extra' : 'cmdline';
    problems.add(key, `${bytes} bytes`, `a kernel command line of at most ${CMDLINE_LIMIT_BYTES} bytes`);
  }
  return joined;
}

/** xl's guest types: with QEMU every guest is hardware-virtualized; `pvh` says that a kernel is booted directly. */
function checkType(fields: Fields, boot: BootConfig | undefined, problems: Problems): void {
  const type = fields.get('type');
  if (type !== undefined && type !== 'hvm' && type !== 'pvh') {
    problems.add('type', type, '"hvm", "pvh" (the devices are virtio in both), or leave it out');
  }
  if (type === 'pvh' && boot?.from !== 'kernel') problems.add('type', type, '"hvm", or a kernel to boot');
  const builder = fields.get('builder');
  if (builder !== undefined && builder !== 'hvm') problems.add('builder', builder, '"hvm", or leave it out');
}
