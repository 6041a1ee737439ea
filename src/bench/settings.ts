/** What must be the same for samples to belong together. */
export type Settings = Readonly<Record<string, string | number>>;

/** What was otherwise then, for people; empty where all was the same. */
export function otherwise(then: Settings, now: Settings): string {
  const names = Object.keys({ ...now, ...then }).filter((name) => then[name] !== now[name]);
  return names.map((name) => `${name}: ${then[name] ?? 'none'}, now ${now[name] ?? 'none'}`).join('; ');
}
