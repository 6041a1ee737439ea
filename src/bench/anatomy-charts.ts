import { alongAxis, AXES, type Axis } from './anatomy-points.js';
import type { AnatomyRow } from './anatomy-figures.js';
import { common, WIDTH, type Chart } from './chart-parts.js';
import { PART_LOOKS, partColour } from './epoch-parts.js';
import { EPOCH_PARTS } from './ledger.js';

const US_PER_MS = 1000;
const STEP = 26;

/** Where an epoch's time goes, stacked, along each axis that has more than one point. */
export function anatomyCharts(rows: readonly AnatomyRow[]): Chart[] {
  return (Object.keys(AXES) as Axis[]).flatMap((axis) => {
    const own = alongAxis(axis, rows);
    return own.length < 2 ? [] : [axisChart(axis, own)];
  });
}

function axisChart(axis: Axis, rows: readonly AnatomyRow[]): Chart {
  const values = rows.flatMap((row) =>
    EPOCH_PARTS.flatMap((part, index) => {
      const us = row.parts[part];
      return us === undefined
        ? []
        : [{ place: placeTitle(axis, row), part: PART_LOOKS[part].title, index, ms: us / US_PER_MS }];
    }),
  );
  const parts = EPOCH_PARTS.filter((part) => rows.some((row) => row.parts[part] !== undefined));
  const title = `Where the time of an epoch goes, by ${AXES[axis].title}`;
  const spec = {
    ...common(title, 'medians; the guest runs again at the end of resume, and all that follows is beside it'),
    data: { values },
    width: WIDTH,
    height: { step: STEP },
    mark: { type: 'bar' },
    encoding: {
      x: { field: 'ms', type: 'quantitative', title: 'milliseconds', stack: 'zero' },
      y: { field: 'place', type: 'nominal', title: null, sort: null, axis: { labelLimit: 0 } },
      color: partColour(parts),
      order: { field: 'index', type: 'quantitative' },
    },
  };
  return {
    name: `anatomy-by-${AXES[axis].title.replaceAll(' ', '-').toLowerCase()}`,
    title,
    spec: spec as Chart['spec'],
  };
}

function placeTitle(axis: Axis, { memoryMib, vcpus, dirtyPages }: AnatomyRow): string {
  if (axis === 'memoryMib') return memoryMib < 1024 ? `${memoryMib} MiB` : `${memoryMib / 1024} GiB`;
  if (axis === 'vcpus') return `${vcpus} vCPU${vcpus === 1 ? '' : 's'}`;
  return `${Math.round(dirtyPages)} pages`;
}
