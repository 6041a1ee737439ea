import { addon, type OutputGate } from '../../src/native/addon.js';

const DELAY_MS = 500;
const RELEASE_TIMEOUT_MS = 20_000;

/**
 * Releases the one request that `gate` holds, and has the lease end behind the gate's own look at it: its ring thread stands
 * there for half a second, and goes on when no lease is left.
 */
export function loseLeaseBehindGate(gate: OutputGate): void {
  const { released } = gate.counters();
  addon.armFault({ point: 'release.tested', action: 'delay', durationMs: DELAY_MS, pass: 1 });
  gate.release(gate.lastSequence);
  const deadline = performance.now() + RELEASE_TIMEOUT_MS;
  while (gate.counters().released === released) {
    if (performance.now() > deadline) throw new Error('the gate lets nothing go');
  }
  gate.requireLease(true);
}
