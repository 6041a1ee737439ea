import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { XenDomainShape } from '../../native/xen.js';
import { restoreStream } from './restore-stream.js';
import { findDomain, xl, type ToolstackConfig } from './toolstack.js';

export interface WaitingDomainOptions {
  /** Of the guest on its primary. Its disks and NICs are left out: kemari's own back-ends bring them. */
  readonly config: ToolstackConfig;
  readonly shape: XenDomainShape;
  /** What the guest's domid is on the primary: paths in xenstore that it has read go on meaning what they did. */
  readonly domid: number | undefined;
  /** A folder that nobody else can write. */
  readonly directory: string;
}

/**
 * Has dom0's `xl` make a domain that a guest of another host can be moved into: paused, its memory where the guest's is,
 * and it has never run. Returns its domid. Errors: `KEMARI_XEN_TOOLSTACK`, for example when the domid is taken.
 */
export async function createWaitingDomain(options: WaitingDomainOptions): Promise<number> {
  const { config, shape, domid, directory } = options;
  const rest = Object.entries(config).filter(([key]) => key !== 'disks' && key !== 'nics');
  const configuration = {
    ...Object.fromEntries(rest),
    c_info: { ...config.c_info, ...(domid === undefined ? {} : { domid }) },
  };
  const path = join(directory, `${config.c_info.name}.xl-restore`);
  await writeFile(path, restoreStream(configuration, shape), { mode: 0o600 });
  try {
    // -e: nobody of xl's waits for the domain's end, and makes another when it reboots.
    await xl('restore', '-p', '-e', path);
  } finally {
    await rm(path, { force: true });
  }
  return (await findDomain(config.c_info.name)).domid;
}
