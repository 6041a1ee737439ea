/** Samples by stack: frames from the outermost (the thread's name) to the innermost, with how often each was seen. */
export type Stacks = ReadonlyMap<string, number>;

const SEPARATOR = ';';
const UNKNOWN = '[unknown]';
/** Addresses of code that was made at run time (QEMU's translated guest code, JavaScript) have no names. */
const FRAME = /^\s*[0-9a-f]+\s+(.+?)(?:\+0x[0-9a-f]+)?(?:\s+\(.*\))?$/;

/** Reads what `perf script -F comm,ip,sym` prints: a line with the thread's name, its frames from the innermost, an empty line. */
export function foldStacks(script: string): Stacks {
  const stacks = new Map<string, number>();
  for (const sample of script.split(/\n\s*\n/)) {
    const [head, ...lines] = sample.split('\n').filter((line) => line.trim() !== '');
    if (head === undefined) continue;
    const frames = lines.map((line) => nameOf(FRAME.exec(line)?.[1])).toReversed();
    const key = [nameOf(head.trim()), ...withoutRepeats(frames)].join(SEPARATOR);
    stacks.set(key, (stacks.get(key) ?? 0) + 1);
  }
  return stacks;
}

function nameOf(name: string | undefined): string {
  return name === undefined ? UNKNOWN : name.replaceAll(SEPARATOR, ':');
}

/** Of frames that nobody knows one says as much as many. */
function withoutRepeats(frames: readonly string[]): string[] {
  return frames.filter((frame, index) => frame !== UNKNOWN || frames[index - 1] !== UNKNOWN);
}

/** One line a stack, as the tools that draw flame graphs read them: `frame;frame;frame 17`. */
export function formatFolded(stacks: Stacks): string {
  return [...stacks].map(([stack, count]) => `${stack} ${count}\n`).join('');
}

export function parseFolded(text: string): Stacks {
  return new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const end = line.lastIndexOf(' ');
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
  );
}

/** A frame with all that was called from it. */
export interface FlameNode {
  readonly id: number;
  /** Undefined: the root. */
  readonly parent: number | undefined;
  readonly name: string;
  /** Samples of it, and of those that it called. */
  readonly total: number;
  /** Samples of itself; what is too thin to be seen belongs to who called it. */
  readonly own: number;
  /** Of the root 0. */
  readonly depth: number;
}

interface Growing {
  readonly name: string;
  total: number;
  readonly callees: Map<string, Growing>;
}

/** Frames by who called them, the root first; those with less than `leastShare` of all samples are left out. */
export function flameTree(stacks: Stacks, rootName: string, leastShare: number): FlameNode[] {
  const root: Growing = { name: rootName, total: 0, callees: new Map() };
  for (const [stack, count] of stacks) {
    let at = root;
    at.total += count;
    for (const name of stack.split(SEPARATOR)) {
      let callee = at.callees.get(name);
      if (callee === undefined) at.callees.set(name, (callee = { name, total: 0, callees: new Map() }));
      at = callee;
      at.total += count;
    }
  }
  const nodes: FlameNode[] = [];
  const least = root.total * leastShare;
  const add = (from: Growing, parent: number | undefined, depth: number): void => {
    const id = nodes.length;
    const shown = [...from.callees.values()].filter(({ total }) => total >= least);
    const own = from.total - shown.reduce((sum, { total }) => sum + total, 0);
    nodes.push({ id, parent, name: from.name, total: from.total, own, depth });
    for (const callee of shown) add(callee, id, depth + 1);
  };
  if (root.total > 0) add(root, undefined, 0);
  return nodes;
}
