/** pino's numbers for levels that deserve a word. */
const LEVEL_WORD: Readonly<Record<number, string>> = { 40: ' WARNING', 50: ' ERROR', 60: ' FATAL' };

/**
 * One line of a domain's log for people: time, who speaks, what is said. A line that is no JSON record (a message of
 * Node's or QEMU's own) stays as it is.
 */
export function readableLogLine(line: string): string {
  let record: { time?: unknown; level?: unknown; source?: unknown; msg?: unknown; err?: unknown } | null;
  try {
    record = JSON.parse(line) as typeof record;
  } catch {
    return line;
  }
  if (typeof record?.msg !== 'string' || typeof record.time !== 'string') return line;
  const source = typeof record.source === 'string' ? ` ${record.source}:` : '';
  const cause = (record.err as { message?: unknown } | undefined)?.message;
  const why = typeof cause === 'string' && !record.msg.includes(cause) ? `: ${cause}` : '';
  return `${record.time}${LEVEL_WORD[Number(record.level)] ?? ''}${source} ${record.msg}${why}`;
}
