import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KemariError, messageOf } from '../../base/errors.js';

/** A domain as `xl list -l` tells of it. */
export interface ToolstackDomain {
  readonly domid: number;
  readonly config: ToolstackConfig;
}

/** What of libxl's domain configuration kemari looks at; the rest travels unseen. */
export interface ToolstackConfig {
  readonly c_info: {
    readonly type: string;
    readonly name: string;
    readonly uuid: string;
    readonly [key: string]: unknown;
  };
  readonly disks?: readonly object[];
  readonly nics?: readonly object[];
  readonly [key: string]: unknown;
}

const run = promisify(execFile);
/** Of anything that `xl` does for us; making a large domain takes a while. */
const TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 16 << 20;

/** A domid that was in use a minute ago is the guest's all the same: what this environment variable says to libxl. */
const NO_DOMID_QUARANTINE = { LIBXL_DOMID_REUSE_TIMEOUT: '0' };

/**
 * Runs dom0's own `xl` and returns what it prints. Errors: `KEMARI_XEN_MISSING` where there is none, `KEMARI_XEN_TOOLSTACK`
 * where it refuses.
 */
export async function xl(...args: readonly string[]): Promise<string> {
  try {
    const env = { ...process.env, ...NO_DOMID_QUARANTINE };
    const { stdout } = await run('xl', args, { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, env });
    return stdout;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new KemariError('KEMARI_XEN_MISSING', 'there is no "xl": this host is no dom0 of Xen', { cause: error });
    }
    throw new KemariError('KEMARI_XEN_TOOLSTACK', `xl ${args[0]} failed: ${messageOf(error).trim()}`, { cause: error });
  }
}

/** Every domain of this host. Errors: those of `xl`. */
export async function listDomains(): Promise<readonly ToolstackDomain[]> {
  return JSON.parse(await xl('list', '-l')) as ToolstackDomain[];
}

/**
 * The domain of this name or domid. Errors: `KEMARI_XEN_GONE` where there is none; those of `xl`.
 */
export async function findDomain(nameOrDomid: string): Promise<ToolstackDomain> {
  const domains = await listDomains();
  const found = domains.find(
    ({ domid, config }) => config.c_info.name === nameOrDomid || String(domid) === nameOrDomid,
  );
  if (found !== undefined) return found;
  const names = domains.map(({ domid, config }) => `${config.c_info.name} (${domid})`).join(', ');
  throw new KemariError('KEMARI_XEN_GONE', `there is no domain "${nameOrDomid}" on this host; there are ${names}`);
}
