import type { Spec, Title as TitleSpec } from 'vega';
import type { Chart } from './chart-parts.js';
import { FONT } from './chart-parts.js';
import { flameTree, type Stacks } from './folded-stacks.js';

const WIDTH = 1100;
const ROW_PX = 15;
/** What is thinner is not seen. */
const LEAST_PX = 0.8;
/** Narrower than that no letter fits. */
const LEAST_TEXT_PX = 24;
const TEXT_PADDING_PX = 3;
const FONT_SIZE = 10;
/** Warm colours, by name: the same function looks the same everywhere. */
const HUES = { from: 8, to: 52 } as const;

/** Where the processor was, callers below callees, as wide as it was there for long. Undefined without a sample. */
export function flameChart(name: string, title: string, stacks: Stacks): Chart | undefined {
  const nodes = flameTree(stacks, 'all', LEAST_PX / WIDTH);
  const [root] = nodes;
  if (root === undefined) return undefined;
  const rows = Math.max(...nodes.map(({ depth }) => depth)) + 1;
  const values = nodes.map(({ own, total, ...node }) => ({ ...node, own, fill: fillOf(node.name), total }));
  const place = {
    x: { field: 'x0' },
    x2: { field: 'x1' },
    y: { signal: 'height - datum.y1' },
    y2: { signal: 'height - datum.y0' },
  };
  const subtitle = `${root.total} samples of the processor's time`;
  const heading: TitleSpec = { text: title, subtitle, font: FONT, subtitleFont: FONT, anchor: { value: 'start' } };
  const spec: Spec = {
    $schema: 'https://vega.github.io/schema/vega/v6.json',
    background: 'white',
    padding: 12,
    width: WIDTH,
    height: rows * ROW_PX,
    title: heading,
    data: [
      {
        name: 'frames',
        values,
        transform: [
          { type: 'stratify', key: 'id', parentKey: 'parent' },
          {
            type: 'partition',
            field: 'own',
            sort: { field: 'name' },
            size: [{ signal: 'width' }, { signal: 'height' }],
            as: ['x0', 'y0', 'x1', 'y1', 'level', 'callees'],
          },
        ],
      },
    ],
    marks: [
      {
        type: 'rect',
        from: { data: 'frames' },
        encode: {
          enter: { ...place, fill: { field: 'fill' }, stroke: { value: 'white' }, strokeWidth: { value: 0.5 } },
        },
      },
      {
        type: 'text',
        from: { data: 'frames' },
        encode: {
          enter: {
            x: { field: 'x0', offset: TEXT_PADDING_PX },
            y: { signal: 'height - (datum.y0 + datum.y1) / 2' },
            baseline: { value: 'middle' },
            font: { value: FONT },
            fontSize: { value: FONT_SIZE },
            text: { signal: `datum.x1 - datum.x0 < ${LEAST_TEXT_PX} ? '' : datum.name` },
            limit: { signal: `datum.x1 - datum.x0 - ${2 * TEXT_PADDING_PX}` },
          },
        },
      },
    ],
  };
  return { name, title, spec: { vega: spec } };
}

function fillOf(name: string): string {
  let hash = 0;
  for (const letter of name) hash = (Math.imul(hash, 31) + (letter.codePointAt(0) ?? 0)) >>> 0;
  const hue = HUES.from + (hash % (HUES.to - HUES.from));
  return `hsl(${hue}, 85%, ${62 + ((hash >>> 8) % 12)}%)`;
}
