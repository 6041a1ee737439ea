import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KemariError, messageOf } from '../../base/errors.js';

/** A QEMU that is new enough. */
export interface QemuBinary {
  /** Name or path, and `-L` for each folder of firmware: the start of every command line. */
  readonly command: readonly string[];
  readonly version: string;
}

/** `-action` with all three verbs, shared file memory as the machine's, ACPI on microvm: Debian 12's version. */
const MIN_VERSION = [7, 2] as const;

const DEFAULT_BINARY = 'qemu-system-x86_64';

const VERSION_TIMEOUT_MS = 10_000;

const run = promisify(execFile);

/**
 * Finds QEMU: `KEMARI_QEMU` names the binary, `KEMARI_QEMU_DATA` is a colon-separated list of folders in which it looks
 * for firmware before its own.
 *
 * Errors: `KEMARI_HYPERVISOR_MISSING`, `KEMARI_HYPERVISOR_TOO_OLD`.
 */
export async function findQemu(environment: NodeJS.ProcessEnv): Promise<QemuBinary> {
  const binary = environment['KEMARI_QEMU'] ?? DEFAULT_BINARY;
  const folders = (environment['KEMARI_QEMU_DATA'] ?? '').split(':').filter((folder) => folder !== '');
  const version = await askVersion(binary);
  if (!isAtLeast(version, MIN_VERSION)) {
    throw new KemariError(
      'KEMARI_HYPERVISOR_TOO_OLD',
      `${binary} is version ${version}; kemari needs QEMU ${MIN_VERSION.join('.')} or newer (KEMARI_QEMU names another)`,
    );
  }
  return { command: [binary, ...folders.flatMap((folder) => ['-L', folder])], version };
}

async function askVersion(binary: string): Promise<string> {
  let printed: string;
  try {
    printed = (await run(binary, ['--version'], { timeout: VERSION_TIMEOUT_MS })).stdout;
  } catch (error) {
    throw new KemariError(
      'KEMARI_HYPERVISOR_MISSING',
      `cannot run ${binary}: ${messageOf(error)}; install qemu-system-x86 or name the binary with KEMARI_QEMU`,
      { cause: error },
    );
  }
  return parseVersion(printed, binary);
}

/** Errors: `KEMARI_HYPERVISOR_MISSING` when the text is not QEMU's. */
export function parseVersion(printed: string, binary: string): string {
  const version = /QEMU emulator version (\d+\.\d+(?:\.\d+)?)/.exec(printed)?.[1];
  if (version !== undefined) return version;
  throw new KemariError('KEMARI_HYPERVISOR_MISSING', `${binary} --version does not print QEMU's version: ${printed}`);
}

export function isAtLeast(version: string, minimum: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > minimum[0] || (major === minimum[0] && minor >= minimum[1]);
}
