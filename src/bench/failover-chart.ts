import { common, WIDTH, type Chart } from './chart-parts.js';
import { FAILOVER_WAYS } from './failovers.js';
import type { FailoverSample } from './ledger.js';

const WAY_STEP = 26;
const COLOURS = ['#a31f34', '#4e79a7'] as const;

/** Every failover as a mark: how long the client waited, and when the guest first spoke. Undefined where none succeeded. */
export function failoverChart(samples: readonly FailoverSample[]): Chart | undefined {
  const values = samples.flatMap(({ way, gapMs, firstFrameMs }) => {
    const title = FAILOVER_WAYS[way]?.title ?? way;
    return gapMs === undefined || firstFrameMs === undefined
      ? []
      : [
          { way: title, what: 'client waits for an answer', ms: gapMs },
          { way: title, what: "guest's first frame", ms: firstFrameMs },
        ];
  });
  if (values.length === 0) return undefined;
  const title = 'Failovers, from the kill of a host';
  const order = Object.values(FAILOVER_WAYS).map((way) => way.title);
  const x = { field: 'ms', type: 'quantitative', title: 'milliseconds' } as const;
  const y = { field: 'way', type: 'nominal', title: null, sort: order, axis: { labelLimit: 0 } } as const;
  const what = { field: 'what', type: 'nominal', title: null } as const;
  const layer = [
    {
      mark: { type: 'tick', thickness: 1.5, opacity: 0.6 },
      encoding: { x, y, yOffset: what, color: { ...what, scale: { range: [...COLOURS] }, legend: { orient: 'top' } } },
    },
    {
      mark: { type: 'point', filled: true, size: 50, color: '#111', opacity: 1 },
      encoding: { x: { ...x, aggregate: 'median' }, y, yOffset: what },
    },
  ];
  const subtitle = 'line: one failover; dot: median';
  return {
    name: 'failover',
    title,
    spec: {
      ...common(title, subtitle),
      data: { values },
      width: WIDTH,
      height: { step: WAY_STEP },
      layer,
    } as Chart['spec'],
  };
}
