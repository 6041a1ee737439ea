import { readFileSync, readdirSync } from 'node:fs';
import { identifyProcess } from '../../src/host/process-identity.js';

/** Every process that a run starts inherits this variable, with the run's own value. */
export const RUN_MARK = 'KEMARI_TEST_RUN';

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** What a run of this process marks its own with: it tells later runs whether this one lives. */
export function runMark(pid = process.pid): string {
  return `${pid}.${identifyProcess(pid)?.startTicks ?? ''}`;
}

/** The processes, this one apart, that carry the mark of the run. Those that end meanwhile are not among them. */
export function findLeftovers(mark: string): Leftover[] {
  return marked((found) => found === mark);
}

/** The processes of runs that live no more, as those that were killed. */
export function findAbandoned(): Leftover[] {
  return marked((mark) => {
    const pid = /^(\d+)\.\d+$/.exec(mark)?.[1];
    return pid !== undefined && runMark(Number(pid)) !== mark;
  });
}

function marked(isWanted: (mark: string) => boolean): Leftover[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      const variable = readProc(name, 'environ')
        .split('\0')
        .find((text) => text.startsWith(`${RUN_MARK}=`));
      if (variable === undefined || !isWanted(variable.slice(RUN_MARK.length + 1))) return [];
      return [{ pid: Number(name), command: readProc(name, 'cmdline').replaceAll('\0', ' ').trim() }];
    });
}

/** Empty when the process has ended, or is ending. */
function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
