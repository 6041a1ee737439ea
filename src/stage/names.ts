import { join } from 'node:path';
import { KemariError } from '../base/errors.js';

/** The two machines that can run the guest. */
export type HostName = 'A' | 'B';

export const HOST_NAMES: readonly HostName[] = ['A', 'B'];

/** Every machine of a stage, each a network namespace of its own. */
export type MachineName = HostName | 'client' | 'storage' | 'switch';

export const MACHINE_NAMES: readonly MachineName[] = ['A', 'B', 'client', 'storage', 'switch'];

/** The name of a stage when none is given. */
export const DEFAULT_STAGE = 'default';

/** Small state of every stage: one folder each. In memory, as the namespaces are. */
const STAGES = '/run/kemari-two-hosts';

/** Disks of every stage: not in memory, wherever /tmp is. */
const DISKS = '/var/tmp';
const DISKS_PREFIX = 'kemari-two-hosts-';

/** A host's root must leave room for the path of a socket. */
const NAME_LIMIT = 24;

/** The files and namespaces of one stage. */
export interface StageNames {
  readonly name: string;
  /** Whoever makes this folder owns the name. */
  readonly directory: string;
  /** What the stage is and whose (StageRecord), as JSON; written when all of it is up. */
  readonly record: string;
  /** Disk images of the storage host. */
  readonly disks: string;
  /** `kemari` as a command, for `exec`. */
  readonly bin: string;
  /** The key that both hosts have. */
  readonly key: string;
}

export function otherHost(host: HostName): HostName {
  return host === 'A' ? 'B' : 'A';
}

/** Where all stages are, one folder each. */
export function stagesFolder(): string {
  return STAGES;
}

/** Errors: `KEMARI_STAGE_NAME`. */
export function stageNames(name: string): StageNames {
  if (!isStageName(name)) {
    throw new KemariError(
      'KEMARI_STAGE_NAME',
      `no name for two hosts: "${name}"; expected 1 to ${NAME_LIMIT} of a-z, 0-9 and -, the first no -`,
    );
  }
  const directory = join(STAGES, name);
  return {
    name,
    directory,
    record: join(directory, 'stage.json'),
    disks: disksName(name),
    bin: join(directory, 'bin'),
    key: join(directory, 'key'),
  };
}

/** The root directory (--root) of a host. */
export function hostRoot(names: StageNames, host: HostName): string {
  return join(names.directory, host);
}

/** The command that fences a host: see fence.ts. */
export function fencePath(names: StageNames, host: HostName): string {
  return join(names.bin, `fence-${host}`);
}

/** As `ip netns` names it. */
export function namespaceName(names: StageNames, machine: MachineName): string {
  return `kemari.${names.name}.${machine}`;
}

/** The stage that a network namespace of this name belongs to; undefined: none. */
export function stageOfNamespace(namespace: string): string | undefined {
  const [kemari, name = '', machine, ...rest] = namespace.split('.');
  const ours = kemari === 'kemari' && MACHINE_NAMES.some((each) => each === machine) && rest.length === 0;
  return ours && isStageName(name) ? name : undefined;
}

/** Where a stage has its disk images. */
export function disksName(stage: string): string {
  return join(DISKS, `${DISKS_PREFIX}${stage}`);
}

/** The stage whose disk images are in a folder of this name; undefined: none. */
export function stageOfDisks(folder: string): string | undefined {
  const name = folder.startsWith(DISKS_PREFIX) ? folder.slice(DISKS_PREFIX.length) : '';
  return isStageName(name) ? name : undefined;
}

function isStageName(name: string): boolean {
  return /^[a-z0-9][a-z0-9-]*$/.test(name) && name.length <= NAME_LIMIT;
}
