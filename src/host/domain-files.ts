import { accessSync, constants, existsSync, statSync } from 'node:fs';
import type { DiskConfig, DomainConfig } from '../model/domain-config.js';
import { Problems } from '../model/problems.js';
import { messageOf } from '../base/errors.js';

/**
 * Looks whether what a configuration names is on this host: kernel, ramdisk, disks and bridges.
 *
 * Errors: `KEMARI_CONFIG_INVALID` with all that is missing. `source` is the domain file's name.
 */
export function checkDomainFiles(config: DomainConfig, source: string): void {
  const problems = new Problems();
  if (config.boot.from === 'kernel') {
    checkFile('kernel', config.boot.kernel, problems);
    if (config.boot.ramdisk !== undefined) checkFile('ramdisk', config.boot.ramdisk, problems);
  }
  for (const disk of config.disks) checkDisk(disk, problems);
  for (const [index, { bridge }] of config.vifs.entries()) {
    if (bridge === undefined || existsSync(`/sys/class/net/${bridge}/bridge`)) continue;
    const allowed = `a bridge of this host (ip link add ${bridge} type bridge), or bridge=none`;
    problems.add(`vif[${index}].bridge`, bridge, allowed);
  }
  if (!problems.none) throw problems.toError(source);
}

/** What is wrong with a path that should be readable (and writable, if so asked), in words; undefined if nothing. */
function accessProblem(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function checkFile(key: string, path: string, problems: Problems): void {
  const reason = accessProblem(path, constants.R_OK);
  if (reason !== undefined) problems.add(key, path, `a file that can be read (${reason})`);
  else if (!statSync(path).isFile()) problems.add(key, path, 'a file');
}

function checkDisk({ vdev, target, readOnly }: DiskConfig, problems: Problems): void {
  if (target.kind === 'nbd') return;
  const key = `disk ${vdev}.target`;
  const reason = accessProblem(target.path, readOnly ? constants.R_OK : constants.R_OK | constants.W_OK);
  if (reason !== undefined) {
    problems.add(
      key,
      target.path,
      `a raw file or block device (${reason}; a relative path starts at the domain file's folder)`,
    );
    return;
  }
  const status = statSync(target.path);
  if (!status.isFile() && !status.isBlockDevice()) problems.add(key, target.path, 'a raw file or block device');
}
