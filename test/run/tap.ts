/**
 * One line of TAP 13 as ava prints it. What belongs to the test before it: `log`, what that logged, and `other`, why it failed.
 */
export type TapLine =
  | { readonly kind: 'passed' | 'failed' | 'skipped'; readonly title: string }
  | { readonly kind: 'log' | 'other'; readonly text: string }
  | { readonly kind: 'none' };

const RESULT = /^(not )?ok \d+(?: - (.*))?$/;

/** Frame and totals: `TAP version 13`, `1..5`, `# tests 5`, the name of what ran, the fences of a YAML block. */
const FRAME = /^(TAP version \d+|1\.\.\d+|# .*|\s*|\s+(---|\.\.\.)|---)$/;

const LOG = /^# {3}(.*)$/;

/** A test marked `todo` is one that does not exist: it counts as failed. */
export function readTapLine(line: string): TapLine {
  const logged = LOG.exec(line)?.[1];
  if (logged !== undefined) return { kind: 'log', text: logged };
  const result = RESULT.exec(line);
  if (result === null) return FRAME.test(line) ? { kind: 'none' } : { kind: 'other', text: line };
  const [title = '', directive = ''] = (result[2] ?? '').split(/ # (?=SKIP|TODO)/);
  if (directive.startsWith('SKIP')) return { kind: 'skipped', title };
  return { kind: result[1] === undefined && directive === '' ? 'passed' : 'failed', title };
}
