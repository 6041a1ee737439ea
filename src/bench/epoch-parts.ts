import type { EpochPart } from './ledger.js';

/** For people; colours go from the capture to the link. */
export const PART_LOOKS: Readonly<Record<EpochPart, { readonly title: string; readonly colour: string }>> = {
  trigger: { title: 'trigger', colour: '#bab0ab' },
  stop: { title: 'stop', colour: '#e15759' },
  scan: { title: 'scan', colour: '#f28e2b' },
  copy: { title: 'copy', colour: '#edc948' },
  state: { title: 'device state', colour: '#b07aa1' },
  resume: { title: 'resume', colour: '#59a14f' },
  encode: { title: 'encode', colour: '#9ecae9' },
  send: { title: 'encrypt, send', colour: '#4e79a7' },
  ack: { title: 'receive, check, ack', colour: '#2b4c7e' },
  release: { title: 'release', colour: '#76b7b2' },
  apply: { title: 'apply, after the ack', colour: '#d4a6c8' },
};

const LEGEND_COLUMNS = 4;

/** The colour of each part, where a value's `part` is its title. */
export function partColour(parts: readonly EpochPart[]) {
  const scale = {
    domain: parts.map((part) => PART_LOOKS[part].title),
    range: parts.map((part) => PART_LOOKS[part].colour),
  };
  return {
    ...{ field: 'part', type: 'nominal', title: null, scale },
    legend: { orient: 'top', columns: LEGEND_COLUMNS },
  } as const;
}
