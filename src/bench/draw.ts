import { existsSync } from 'node:fs';
import { Resvg } from '@resvg/resvg-js';
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import type { Chart } from './chart-parts.js';

/** Where Debian's fonts-dejavu-core is. */
const FONT_FILES = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'].map((file) => `/usr/share/fonts/truetype/dejavu/${file}`);
/** A picture is looked at on screens of more than one pixel a point. */
const PNG_ZOOM = 2;

export async function drawSvg(chart: Chart): Promise<string> {
  const spec = 'vega' in chart.spec ? chart.spec.vega : compile(chart.spec).spec;
  const view = new View(parse(spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** Text is drawn where the font is installed (hack/lib/packages.sh). */
export function drawPng(svg: string): Buffer {
  const fontFiles = FONT_FILES.filter((file) => existsSync(file));
  const font = { fontFiles, loadSystemFonts: fontFiles.length === 0, defaultFontFamily: 'DejaVu Sans' };
  return new Resvg(svg, { font, fitTo: { mode: 'zoom', value: PNG_ZOOM } }).render().asPng();
}
