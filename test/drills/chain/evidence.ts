import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { HOST_NAMES, otherHost, type HostName } from '../../../src/stage/names.js';
import type { WitnessedChange } from '../../../src/stage/storage-witness.js';
import type { WitnessedFrame } from '../../../src/stage/witness.js';
import { frameKey, keyOfNoted } from './frame-key.js';

const PIECE_BYTES = 256 * 1024;

/** From one closing of a gate to the opening after it: a protection. */
interface Watch {
  closed: boolean;
  /** No newer sequence passed before it closed. */
  lastPassed: number;
  /** When it opened again. */
  openedAtMs: number | undefined;
  /** In the order of their epochs, and so of what they cover. */
  readonly cuts: Cut[];
}

interface Cut {
  readonly epoch: number;
  readonly through: number;
  readonly atMs: number;
  /** The ack that covers it. */
  heard: { readonly epoch: number; readonly atMs: number } | undefined;
}

/** What a witness saw. */
interface Seen {
  readonly host: HostName;
  readonly atMs: number;
  readonly key: string;
  /** For people. */
  readonly what: string;
}

interface Note {
  readonly sequence: number;
  readonly atMs: number;
  readonly passed: boolean;
  readonly watch: Watch;
  /** It was held while nothing was promised: by a gate that was just about to open, or for want of a lease. */
  readonly early: boolean;
  seen: boolean;
}

/** What was found out about what was seen. */
export interface Verdict {
  /** Held, and left after its ack. */
  readonly acknowledged: number;
  /** Left while nothing was promised: unprotected, or after that had ended. */
  readonly free: number;
  readonly violations: readonly string[];
}

/**
 * Holds what witnesses saw, frames on the network and changes of disks in front of storage, against what the processes noted
 * (src/base/README.md, Evidence). It knows nothing of how they decide: what left a protected guest before its primary had heard
 * the ack of an epoch that covers it, or whose ack no standby sent, is a violation, and so is what no gate ever saw.
 */
export class Evidence {
  readonly #notes = { A: new Map<string, Note[]>(), B: new Map<string, Note[]>() };
  /** When standbys of a host sent acks, by epoch. */
  readonly #sent = { A: new Map<number, number[]>(), B: new Map<number, number[]>() };
  readonly #watches = new Map<string, Watch>();

  /** Takes lines of one process's file, in their order. Errors: Error for a line that is none. */
  add(host: HostName, file: string, lines: readonly string[]): void {
    for (const line of lines) this.#line(host, `${host} ${file}`, line);
  }

  /** Judges frames, each once, in the order in which they were seen. */
  judge(frames: readonly WitnessedFrame[]): Verdict {
    return this.#judge(
      frames.map(({ host, atMs, etherType, head }) => {
        return { host, atMs, key: frameKey(etherType, head), what: 'a frame' };
      }),
    );
  }

  /** The same of what reached storage. */
  judgeChanges(changes: readonly WitnessedChange[]): Verdict {
    return this.#judge(
      changes.map(({ host, atMs, kind, offset, length }) => {
        const key = changeKey(kind, offset, length);
        return { host, atMs, key, what: `a request of storage (${key})` };
      }),
    );
  }

  #judge(seen: readonly Seen[]): Verdict {
    const violations: string[] = [];
    let acknowledged = 0;
    let free = 0;
    for (const one of seen) {
      const notes = (this.#notes[one.host].get(one.key) ?? []).filter((note) => !note.seen);
      const reasons = notes.map((note) => this.#mayBeSeen(one, note));
      const index = reasons.findIndex((reason) => reason === 'acknowledged' || reason === 'free');
      const note = notes[index];
      if (note === undefined) {
        const why = reasons[0] ?? 'no gate of this host saw it';
        violations.push(`${one.what} from host ${one.host} at ${one.atMs.toFixed(3)}: ${why}`);
        continue;
      }
      note.seen = true;
      if (reasons[index] === 'free') free += 1;
      else acknowledged += 1;
    }
    return { acknowledged, free, violations };
  }

  /** `acknowledged`, `free`, or why it may not. */
  #mayBeSeen({ host, atMs }: Seen, note: Note): string {
    const { watch, sequence } = note;
    if (note.atMs > atMs) return 'it was seen before the guest sent it';
    if (note.passed) {
      const lawful = !watch.closed || sequence <= watch.lastPassed;
      return lawful ? 'free' : `number ${sequence} passed a gate that was closed`;
    }
    if (note.early || (watch.openedAtMs !== undefined && watch.openedAtMs <= atMs)) return 'free';
    const cut = coveringCut(watch.cuts, sequence);
    if (cut === undefined) return `number ${sequence} was held, and no epoch covers it`;
    const { heard, epoch } = cut;
    if (heard === undefined || heard.atMs > atMs) {
      return `number ${sequence} left before the ack of its epoch, ${epoch}, was heard`;
    }
    const sent = this.#sent[otherHost(host)].get(heard.epoch) ?? [];
    if (!sent.some((at) => at >= cut.atMs && at <= heard.atMs)) {
      return `number ${sequence} left upon an ack of epoch ${heard.epoch} that nobody sent`;
    }
    return 'acknowledged';
  }

  #note(host: HostName, key: string, note: Note): void {
    const notes = this.#notes[host].get(key) ?? [];
    notes.push(note);
    this.#notes[host].set(key, notes);
  }

  #line(host: HostName, process: string, line: string): void {
    const [time = '', what, number = '', more = ''] = line.split(' ');
    const at = { atMs: Number(time.slice(0, -3)) / 1000, number: Number(number) };
    const watch = this.#watches.get(process) ?? newWatch();
    this.#watches.set(process, watch);
    switch (what) {
      case 'closed':
        watch.closed = true;
        watch.lastPassed = at.number;
        return;
      case 'opened':
        watch.openedAtMs = at.atMs;
        this.#watches.set(process, newWatch());
        return;
      case 'held':
      case 'passed':
        this.#note(host, keyOfNoted(more), {
          ...{ sequence: at.number, atMs: at.atMs, passed: what === 'passed' },
          ...{ watch, early: !watch.closed, seen: false },
        });
        return;
      case 'disk-held':
      case 'disk-passed':
        for (const key of changeKeys(more)) {
          this.#note(host, key, {
            ...{ sequence: at.number, atMs: at.atMs, passed: what === 'disk-passed' },
            ...{ watch, early: !watch.closed, seen: false },
          });
        }
        return;
      case 'cut':
        watch.cuts.push({ epoch: at.number, through: Number(more), atMs: at.atMs, heard: undefined });
        return;
      case 'ack-heard':
        for (const cut of watch.cuts.toReversed()) {
          if (cut.heard !== undefined) break;
          if (cut.epoch <= at.number) cut.heard = { epoch: at.number, atMs: at.atMs };
        }
        return;
      case 'ack-sent': {
        const sent = this.#sent[host].get(at.number) ?? [];
        sent.push(at.atMs);
        this.#sent[host].set(at.number, sent);
        return;
      }
      default:
        throw new Error(`no line of evidence: "${line}"`);
    }
  }
}

/** What a disk's requests are told from each other by. */
function changeKey(kind: string, offset: number, length: number): string {
  return `${kind}:${offset}:${length}`;
}

/** Of a change as evidence has it; a long write may also be seen in pieces (addon/ring/disk/bounce_pool.h). */
function changeKeys(noted: string): string[] {
  const [kind = '', offset, length] = noted.split(':');
  const [from, bytes] = [Number(offset), Number(length)];
  const whole = changeKey(kind, from, bytes);
  if (kind !== 'w' || bytes <= PIECE_BYTES) return [whole];
  const pieces = Array.from({ length: Math.ceil(bytes / PIECE_BYTES) }, (_, index) => {
    const done = index * PIECE_BYTES;
    return changeKey(kind, from + done, Math.min(PIECE_BYTES, bytes - done));
  });
  return [whole, ...pieces];
}

function newWatch(): Watch {
  return { closed: false, lastPassed: 0, openedAtMs: undefined, cuts: [] };
}

/** The first that covers it, by halves. */
function coveringCut(cuts: readonly Cut[], sequence: number): Cut | undefined {
  let [low, high] = [0, cuts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cuts[middle]!.through >= sequence) high = middle;
    else low = middle + 1;
  }
  return cuts[low];
}

const CHUNK_BYTES = 1 << 20;

/** Reads the evidence of a stage's hosts as it grows. */
export class EvidenceReader {
  readonly evidence = new Evidence();
  readonly #folder: (host: HostName) => string;
  readonly #read = new Map<string, { offset: number; half: string }>();

  constructor(folder: (host: HostName) => string) {
    this.#folder = folder;
  }

  /** Takes what was written since the last time. */
  catchUp(): void {
    for (const host of HOST_NAMES) {
      for (const file of readdirSync(this.#folder(host))) {
        this.evidence.add(host, file, this.#newLines(join(this.#folder(host), file)));
      }
    }
  }

  #newLines(path: string): string[] {
    const place = this.#read.get(path) ?? { offset: 0, half: '' };
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const fd = openSync(path, 'r');
    const lines: string[] = [];
    for (let bytes = -1; bytes !== 0;) {
      bytes = readSync(fd, chunk, 0, CHUNK_BYTES, place.offset);
      place.offset += bytes;
      const [first = '', ...rest] = chunk.toString('latin1', 0, bytes).split('\n');
      const whole = [place.half + first, ...rest];
      place.half = whole.pop()!;
      lines.push(...whole);
    }
    closeSync(fd);
    this.#read.set(path, place);
    return lines;
  }
}
