/** Milliseconds of Unix time with their fractions: what a process here, another's report and a captured frame compare by. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
