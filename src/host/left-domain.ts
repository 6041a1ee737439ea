import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 60_000;

/**
 * Ends a domain of this host's Xen whose kemari-dm is gone, as QEMU's process would be: its disks and NICs are gone already, and
 * another host may run its guest. One that has gone, or whose domid is another's now, is no concern. Errors: those of `xl`.
 */
export async function endLeftDomain(name: string, domid: number): Promise<void> {
  const found = await run('xl', ['domid', name], { timeout: TIMEOUT_MS }).catch(() => undefined);
  if (found === undefined || Number(found.stdout) !== domid) return;
  await run('xl', ['destroy', String(domid)], { timeout: TIMEOUT_MS });
}
