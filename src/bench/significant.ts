/** Three digits say all that such a measurement knows. */
export function significant(value: number): string {
  return value >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
