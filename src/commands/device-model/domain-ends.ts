import type { Lifecycle, LifecycleEffect } from '../../engine/lifecycle.js';

/** States in which the guest does not run again by itself: there is nothing left to protect. */
export const ENDS: ReadonlySet<Lifecycle['state']['name']> = new Set(['shutdown', 'crashed', 'dying']);

/** Why the domain ends, in the engine's own words. */
export function reasonOf(effects: readonly LifecycleEffect[]): string {
  const said = effects.flatMap((effect) => (effect.do === 'log' ? [effect.text] : []));
  return said.length === 0 ? 'the domain ends' : said.join('; ');
}

/** A refusal is an answer; a connection that closed is followed by the report that the process ended. */
export const NOT_THE_MACHINES: ReadonlySet<string> = new Set([
  'KEMARI_WRONG_STATE',
  'KEMARI_DOMAIN_DYING',
  'KEMARI_QMP_CLOSED',
  'KEMARI_HANDOVER',
]);
