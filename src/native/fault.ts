import { parseFault, watchFaultPoint } from '../base/fault.js';
import { addon } from './addon.js';

/**
 * Arms what KEMARI_FAULT says, if anything, in this process; once, before it does anything else. What a process starts inherits
 * it: one set for kemarid holds for each restore process that it starts, and for kemari-dm once that took over.
 *
 * Errors: those of `parseFault`.
 */
export function armFault(environment: Readonly<Record<string, string | undefined>>): void {
  const text = environment['KEMARI_FAULT'];
  if (text === undefined || text === '') return;
  const fault = parseFault(text);
  addon.armFault(fault);
  watchFaultPoint(fault.point, () => {
    addon.passArmedFault();
  });
}
