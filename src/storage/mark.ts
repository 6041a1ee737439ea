import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { removeDurably, writeDurably } from '../base/durable-file.js';
import { KemariError, messageOf } from '../base/errors.js';
import type { DiskConfig } from '../model/domain-config.js';

/**
 * Lies beside the image file of a protected domain, as `<image>.kemari`, where every host that reaches the image reaches it
 * too: says who may write the image, and by `nonce` that two hosts see the same file.
 */
export interface DiskMark {
  readonly version: 1;
  readonly uuid: string;
  readonly name: string;
  readonly generation: number;
  readonly hostId: string;
  /** For people. */
  readonly hostName: string;
  /** Milliseconds since the epoch of Unix time. */
  readonly atMs: number;
  readonly nonce: string;
}

export type NewMark = Omit<DiskMark, 'version' | 'nonce' | 'atMs'>;

/** Where the mark of a disk lies; undefined where there is no such place (a device, an export), or nothing is written. */
export function markPath(disk: DiskConfig, isFile: (path: string) => boolean): string | undefined {
  if (disk.target.kind !== 'path' || disk.readOnly || !isFile(disk.target.path)) return undefined;
  return `${disk.target.path}.kemari`;
}

/** undefined when there is none. Errors: `KEMARI_OWNERSHIP_UNREADABLE` for one that is damaged: it proves nothing either way. */
export function readMark(path: string): DiskMark | undefined {
  try {
    const mark = JSON.parse(readFileSync(path, 'utf8')) as Partial<DiskMark> | null;
    const whole =
      mark?.version === 1 &&
      [mark.uuid, mark.name, mark.hostId, mark.hostName, mark.nonce].every((text) => typeof text === 'string') &&
      [mark.generation, mark.atMs].every(Number.isSafeInteger);
    if (!whole) throw new Error('it is no record of this version of kemari');
    return mark as DiskMark;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new KemariError(
      'KEMARI_OWNERSHIP_UNREADABLE',
      `cannot read who owns the disk from ${path}: ${messageOf(error)}; when you know that no other host runs the ` +
        'domain: "kemari create --claim"',
      { cause: error },
    );
  }
}

/** Writes a new mark, with the nonce of the one before if there was any that could be read. Errors: `KEMARI_OWNERSHIP_WRITE`. */
export function writeMark(path: string, mark: NewMark): DiskMark {
  let nonce: string = randomUUID();
  try {
    nonce = readMark(path)?.nonce ?? nonce;
  } catch (error) {
    if (!(error instanceof KemariError)) throw error;
  }
  const whole: DiskMark = { version: 1, ...mark, atMs: Date.now(), nonce };
  try {
    writeDurably(path, `${JSON.stringify(whole)}\n`);
  } catch (error) {
    throw new KemariError(
      'KEMARI_OWNERSHIP_WRITE',
      `cannot write ${path}, which says which host owns the disk: ${messageOf(error)}; the folder of a protected image ` +
        'must be writable',
      { cause: error },
    );
  }
  return whole;
}

export function removeMark(path: string): void {
  removeDurably(path);
}
