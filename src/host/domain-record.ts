import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { DomainConfig } from '../model/domain-config.js';
import { KemariError, messageOf } from '../base/errors.js';
import type { DomainPaths } from './paths.js';
import type { ProcessIdentity } from './process-identity.js';

/** Which processes belong to a domain. Kept as a file so that what a killed kemari-dm leaves behind can be taken down. */
export interface DomainRecord {
  readonly name: string;
  /** Milliseconds since the epoch of Unix time. */
  readonly createdAtMs: number;
  /** undefined until kemari-dm has started. */
  readonly deviceModel?: ProcessIdentity;
  /** undefined until QEMU has started. */
  readonly qemu?: ProcessIdentity;
  /** undefined where there is none; of the same name. */
  readonly xenDomid?: number;
}

/** Replaces a file by one with this value, so that a reader sees the old or the new one, never a part. */
function writeJsonFile(path: string, value: unknown): void {
  const next = `${path}.new`;
  writeFileSync(next, JSON.stringify(value), { mode: 0o600 });
  renameSync(next, path);
}

function readJsonFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new KemariError('KEMARI_RECORD_UNREADABLE', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

export function writeRecord(paths: DomainPaths, record: DomainRecord): void {
  writeJsonFile(paths.record, record);
}

/** Errors: `KEMARI_RECORD_UNREADABLE`. */
export function readRecord(paths: DomainPaths): DomainRecord {
  return readJsonFile(paths.record) as DomainRecord;
}

export function writeConfig(paths: DomainPaths, config: DomainConfig): void {
  writeJsonFile(paths.config, config);
}

/** Errors: `KEMARI_RECORD_UNREADABLE`. */
export function readConfig(paths: DomainPaths): DomainConfig {
  return readJsonFile(paths.config) as DomainConfig;
}
