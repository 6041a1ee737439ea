import { KemariError } from '../base/errors.js';
import { suggest } from '../base/suggest.js';
import { APPLICATIONS } from './applications.js';
import { IDLE } from './idle.js';
import { IOZONE } from './iozone.js';
import { NETPERF } from './netperf.js';
import type { Workload } from './workload.js';

export const WORKLOADS: readonly Workload[] = [IDLE, ...NETPERF, ...IOZONE, ...APPLICATIONS];

/** Of a guest that kemari serves: the options of `kemari migrate`, none where it is not protected. */
export const KEMARI_PROTECTIONS = {
  proxy: undefined,
  kemari: [],
  'kemari-lz4': ['--compress', 'always'],
  'kemari-zero': ['--compress', 'never'],
  'kemari-plain': ['--plain'],
  'kemari-lz4-plain': ['--compress', 'always', '--plain'],
  'kemari-zero-plain': ['--compress', 'never', '--plain'],
  strict: ['--strict'],
  'remus-25': ['--remus', '--interval', '25'],
  'remus-50': ['--remus', '--interval', '50'],
  'remus-100': ['--remus', '--interval', '100'],
  'remus-200': ['--remus', '--interval', '200'],
} as const satisfies Readonly<Record<string, readonly string[] | undefined>>;

/** QEMU's own devices, nothing of kemari: what all others are held against. */
export const UNPROTECTED = 'none';

/** For people. */
export const PROTECTIONS: Readonly<Record<string, string>> = {
  [UNPROTECTED]: "none (QEMU's own devices)",
  proxy: 'none, through kemari',
  kemari: 'kemari',
  'kemari-lz4': 'kemari, delta and lz4 always',
  'kemari-zero': 'kemari, zero pages only',
  'kemari-plain': 'kemari, no TLS',
  'kemari-lz4-plain': 'kemari, delta and lz4 always, no TLS',
  'kemari-zero-plain': 'kemari, zero pages only, no TLS',
  strict: 'kemari --strict',
  'remus-25': 'remus 25 ms',
  'remus-50': 'remus 50 ms',
  'remus-100': 'remus 100 ms',
  'remus-200': 'remus 200 ms',
  colo: "QEMU's COLO, every 1000 ms",
  'stop-and-copy': "QEMU's migration, 100 ms between",
};

/** Other ways of the same protection over the link: what they cost there is told, where they are asked for. */
export const WIRE_PROTECTIONS: readonly string[] = Object.keys(PROTECTIONS).filter((name) =>
  name.startsWith('kemari-'),
);

/** What a link between the two hosts is like. */
export interface LinkShape {
  /** As tc(8) takes it; undefined: as fast as it is. */
  readonly rate?: string;
  /** That a frame is longer under way, in each direction. */
  readonly delayMs?: number;
}

export const LINKS: Readonly<Record<string, LinkShape>> = {
  free: {},
  '1gbit': { rate: '1gbit' },
  '100mbit': { rate: '100mbit' },
  '1ms': { delayMs: 1 },
};

/**
 * The chosen ones in the catalogue's order; all where nothing is chosen. A name that ends in * stands for all that begin so.
 *
 * Errors: `KEMARI_USAGE` for a name that stands for nothing.
 */
export function choose(what: string, known: readonly string[], chosen: readonly string[] | undefined): string[] {
  if (chosen === undefined || chosen.length === 0) return [...known];
  const matches = (pattern: string, name: string): boolean =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
  for (const pattern of chosen) {
    if (known.some((name) => matches(pattern, name))) continue;
    const near = suggest(pattern, known);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new KemariError('KEMARI_USAGE', `no ${what} "${pattern}"${hint} There are: ${known.join(', ')}`);
  }
  return known.filter((name) => chosen.some((pattern) => matches(pattern, name)));
}
