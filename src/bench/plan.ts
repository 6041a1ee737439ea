/** One measurement: this workload under this protection over this link, for the so-manieth time. */
export interface Cell {
  readonly link: string;
  readonly protection: string;
  readonly workload: string;
  /** From 0. */
  readonly repeat: number;
}

/** Measurements that one change of protection serves. */
export interface Turn {
  readonly link: string;
  readonly protection: string;
  readonly repeat: number;
  readonly workloads: readonly string[];
}

/** What a run measures: every protection times every workload times every link, so many times each. Names, in order. */
export interface Matrix {
  readonly links: readonly string[];
  readonly protections: readonly string[];
  readonly workloads: readonly string[];
  readonly repeats: number;
}

/**
 * The turns of a run, without what `isDone` has already. Protections take turns within a repeat, and who comes first moves on
 * by one each time: what disturbs the machine for a while disturbs all of them alike.
 */
export function planTurns(matrix: Matrix, isDone: (cell: Cell) => boolean): Turn[] {
  const turns: Turn[] = [];
  const { protections } = matrix;
  for (const link of matrix.links) {
    for (let repeat = 0; repeat < matrix.repeats; repeat++) {
      const first = repeat % protections.length;
      for (const protection of [...protections.slice(first), ...protections.slice(0, first)]) {
        const workloads = matrix.workloads.filter((workload) => !isDone({ link, protection, workload, repeat }));
        if (workloads.length > 0) turns.push({ link, protection, repeat, workloads });
      }
    }
  }
  return turns;
}

/** How many measurements the turns hold. */
export function countCells(turns: readonly Turn[]): number {
  return turns.reduce((sum, { workloads }) => sum + workloads.length, 0);
}
