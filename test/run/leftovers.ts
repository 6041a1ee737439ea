import { readFileSync, readdirSync } from 'node:fs';

/** Every process that a run starts inherits this variable, with the run's own value. */
export const RUN_MARK = 'KEMARI_TEST_RUN';

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** The processes, this one apart, that carry the mark of the run. Those that end meanwhile are not among them. */
export function findLeftovers(mark: string): Leftover[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      const environment = readProc(name, 'environ').split('\0');
      if (!environment.includes(`${RUN_MARK}=${mark}`)) return [];
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
