import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeDurably, writeDurably, writeDurablyBeside } from '../base/durable-file.js';
import { KemariError, messageOf } from '../base/errors.js';
import { faultPoint } from '../base/fault.js';
import type { HostPaths } from './paths.js';

/** What a host remembers, across reboots, of a domain that it protected, took over or gave away. */
export interface OwnershipRecord {
  readonly version: 1;
  readonly uuid: string;
  readonly name: string;
  /** How often the guest has changed its host. */
  readonly generation: number;
  /**
   * `owner`: it last ran here. `gave`: it was handed over to `peer`. An owner with a `peer` was protected: when this host
   * goes down the peer may go on.
   */
  readonly role: 'owner' | 'gave';
  readonly peer?: { readonly hostName: string; readonly addresses: readonly string[] };
  /** Milliseconds since the epoch of Unix time. */
  readonly atMs: number;
}

function recordPath(host: HostPaths, uuid: string): string {
  return join(host.stateDirectory, 'domains', `${uuid}.json`);
}

/** undefined when there is none. Errors: `KEMARI_OWNERSHIP_UNREADABLE` for one that is damaged. */
export function readOwnership(host: HostPaths, uuid: string): OwnershipRecord | undefined {
  const path = recordPath(host, uuid);
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as Partial<OwnershipRecord> | null;
    const whole =
      record?.version === 1 &&
      record.uuid === uuid &&
      Number.isSafeInteger(record.generation) &&
      (record.role === 'owner' || record.role === 'gave');
    if (!whole) throw new Error('it is no record of this version of kemari');
    return record as OwnershipRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new KemariError(
      'KEMARI_OWNERSHIP_UNREADABLE',
      `cannot read from ${path} whether this host owns the domain: ${messageOf(error)}; when you know that no other host ` +
        'runs it: "kemari create --claim"',
      { cause: error },
    );
  }
}

type NewRecord = Omit<OwnershipRecord, 'version' | 'atMs'>;

/** Errors: `KEMARI_OWNERSHIP_WRITE`. */
export function writeOwnership(host: HostPaths, record: NewRecord): void {
  const path = recordPath(host, record.uuid);
  try {
    beforeWrite();
    writeDurably(path, textOf(record), halfWritten);
    afterWrite();
  } catch (error) {
    throw notWritten(path, error);
  }
}

/** The same without keeping this thread while the disk works. */
export async function writeOwnershipBeside(host: HostPaths, record: NewRecord): Promise<void> {
  const path = recordPath(host, record.uuid);
  try {
    beforeWrite();
    await writeDurablyBeside(path, textOf(record), halfWritten);
    afterWrite();
  } catch (error) {
    throw notWritten(path, error);
  }
}

function textOf(record: NewRecord): string {
  return `${JSON.stringify({ version: 1, ...record, atMs: Date.now() })}\n`;
}

function beforeWrite(): void {
  faultPoint('ownership.before-write');
}

function halfWritten(): void {
  faultPoint('ownership.half-written');
}

function afterWrite(): void {
  faultPoint('ownership.after-write');
}

function notWritten(path: string, error: unknown): KemariError {
  return new KemariError('KEMARI_OWNERSHIP_WRITE', `cannot write ${path}: ${messageOf(error)}`, { cause: error });
}

export function removeOwnership(host: HostPaths, uuid: string): void {
  removeDurably(recordPath(host, uuid));
}
