import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DrillFigures, Policy } from './drill.js';

/** One line of the ledger of drills: what was tried, of which commit, and what came of it. */
export interface DrillRecord {
  readonly commit: string;
  readonly seed: number;
  readonly index: number;
  readonly fault: string;
  readonly policy: Policy;
  readonly survived: boolean;
  readonly seconds: number;
  readonly at: string;
  readonly figures?: DrillFigures;
  /** What was broken, and where its logs are. */
  readonly failure?: string;
  readonly logs?: string;
}

export function appendRecord(file: string, record: DrillRecord): void {
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(record)}\n`);
}

/** Empty where there is no such file. A line that was being written when the machine stopped is passed over. */
export function readRecords(file: string): DrillRecord[] {
  return readIfThere(file)
    .split('\n')
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as DrillRecord];
      } catch {
        return [];
      }
    });
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
