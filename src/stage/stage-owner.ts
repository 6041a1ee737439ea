import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { KemariError } from '../base/errors.js';
import { identifyProcess, isRunning, type ProcessIdentity } from '../host/process-identity.js';
import { NAMESPACE_FOLDER } from './namespace.js';
import { disksName, stageNames, stageOfDisks, stageOfNamespace, stagesFolder, type StageNames } from './names.js';

/** Who a stage belongs to: a process, whose end ends it, or nobody (it stays until `down`). */
interface StageRecord {
  readonly owner: ProcessIdentity | undefined;
}

/** A folder that is not a stage yet: no stage's name begins so. */
const NEW = '.new-';

let claims = 0;

/**
 * Takes the name: its folder appears together with the record of whose it is, so one without a record is what somebody was
 * killed over. Errors: `KEMARI_STAGE_EXISTS`.
 */
export function claimStage(names: StageNames, owned: boolean): void {
  const record: StageRecord = { owner: owned ? identifyProcess(process.pid) : undefined };
  const folder = join(stagesFolder(), `${NEW}${process.pid}-${(claims += 1)}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, basename(names.record)), JSON.stringify(record));
  try {
    renameSync(folder, names.directory);
  } catch (error) {
    rmSync(folder, { recursive: true });
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new KemariError(
      'KEMARI_STAGE_EXISTS',
      `two hosts "${names.name}" are there already; take another --name, or "hack/two-hosts down --name ${names.name}"`,
    );
  }
}

/** Lets go of the name, when all else of the stage is gone: who is killed before that has left a stage that can be found. */
export function releaseStage(names: StageNames): void {
  for (const entry of read(names.directory)) {
    const path = join(names.directory, entry);
    if (path !== names.record) rmSync(path, { recursive: true, force: true });
  }
  rmSync(names.directory, { recursive: true, force: true });
}

/** The names of all stages on this machine. */
export function stagesInUse(): string[] {
  return read(stagesFolder()).filter((name) => !name.startsWith(NEW));
}

/** The stages of which something is left and nobody's any more: to be taken down by whoever finds them. */
export function abandonedStages(): string[] {
  removeHalfClaims();
  // What is made after the name is taken is looked at first: a stage that comes up meanwhile is not mistaken for one.
  const remains = [
    ...read(NAMESPACE_FOLDER).map(stageOfNamespace),
    ...read(dirname(disksName(''))).map(stageOfDisks),
  ].filter((name) => name !== undefined);
  const stages = stagesInUse();
  const left = remains.filter((name) => !stages.includes(name));
  return [...new Set([...left, ...stages.filter(isAbandoned)])];
}

function isAbandoned(name: string): boolean {
  const record = readRecord(stageNames(name));
  return record === undefined || (record.owner !== undefined && !isRunning(record.owner));
}

/** undefined: there is none, as in what is left of a stage that is being taken down, or was. */
function readRecord(names: StageNames): StageRecord | undefined {
  try {
    return JSON.parse(readFileSync(names.record, 'utf8')) as StageRecord;
  } catch {
    return undefined;
  }
}

/** Of processes that were killed over them. */
function removeHalfClaims(): void {
  for (const entry of read(stagesFolder())) {
    const pid = /^\.new-(\d+)-\d+$/.exec(entry)?.[1];
    if (pid === undefined || identifyProcess(Number(pid)) !== undefined) continue;
    rmSync(join(stagesFolder(), entry), { recursive: true, force: true });
  }
}

function read(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
