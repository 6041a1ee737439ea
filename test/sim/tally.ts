/** How often what happened: nobody says that seeds in which nothing happens prove anything. */
export class Tally {
  readonly counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count);
  }

  addAll(counts: Iterable<readonly [what: string, count: number]>): void {
    for (const [what, count] of counts) this.add(what, count);
  }

  of(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  /** Whatever begins so, most frequent first. */
  under(prefix: string): [what: string, count: number][] {
    return [...this.counts]
      .filter(([what]) => what.startsWith(prefix))
      .map(([what, count]): [string, number] => [what.slice(prefix.length), count])
      .sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1));
  }
}
