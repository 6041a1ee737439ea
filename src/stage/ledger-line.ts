/** What a client and hack/guest/ledger.cc say to each other: one line a message, numbered from 1 on each connection. */

export const LEDGER_PORT = 7000;

/** Where the guest keeps its ledger. */
export const LEDGER_FILE = '/var/lib/ledger/records';

/** `E`: the guest answers. `W`: it answers once the text is on its disk. */
export type MessageKind = 'E' | 'W';

export interface Answer {
  readonly kind: MessageKind;
  readonly number: number;
  /** How many messages the guest has heard on this connection: as the number, unless it missed one or heard one twice. */
  readonly count: number;
}

/** undefined for what is no answer. */
export function parseAnswer(line: string): Answer | undefined {
  const found = /^([EW]) (\d+) (\d+)$/.exec(line);
  if (found === null) return undefined;
  return { kind: found[1] as MessageKind, number: Number(found[2]), count: Number(found[3]) };
}

/** What a ledger has and lacks, against what its client sent and had acknowledged. */
export interface LedgerAudit {
  readonly records: number;
  /** Acknowledged, and not there. */
  readonly lost: readonly string[];
  /** There more than once. */
  readonly doubled: readonly string[];
  /** There before one that was sent earlier. */
  readonly misplaced: readonly string[];
  /** There, and never sent. */
  readonly strange: readonly string[];
}

/** Audits a ledger's text. `sent` has the lines of all writes in their order; a sent one without an answer may be there or not. */
export function auditLedger(text: string, sent: readonly string[], acknowledged: readonly string[]): LedgerAudit {
  const place = new Map(sent.map((line, index) => [line, index]));
  const found = new Set<string>();
  const doubled: string[] = [];
  const misplaced: string[] = [];
  const strange: string[] = [];
  let last = -1;
  const records = text
    .split('\n')
    .slice(0, -1)
    .map((record) => record.trimEnd());
  for (const record of records) {
    const index = place.get(record);
    if (index === undefined) strange.push(record);
    else if (found.has(record)) doubled.push(record);
    else if (index < last) misplaced.push(record);
    found.add(record);
    last = Math.max(last, index ?? last);
  }
  // What follows the last end of a line is half a record.
  const rest = text.slice(text.lastIndexOf('\n') + 1);
  if (rest !== '') strange.push(rest);
  const lost = acknowledged.filter((line) => !found.has(line));
  return { records: records.length, lost, doubled, misplaced, strange };
}
