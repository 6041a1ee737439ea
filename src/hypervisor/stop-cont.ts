import { KemariError } from '../base/errors.js';
import type { Machine } from './contract.js';

/** The guest stands still half of the time while this goes on. */
export const STOP_CONT_LIMIT = 1000;

const MICROSECONDS_PER_MILLISECOND = 1000;

/**
 * A diagnostic: stops and resumes a running machine `count` times and returns how long each round trip took, in
 * microseconds, from before the command to stop until after the answer to the command to resume.
 *
 * Errors: `KEMARI_PROTOCOL` for a count outside [1, STOP_CONT_LIMIT]; those of the machine.
 */
export async function timeStopCont(machine: Pick<Machine, 'pause' | 'resume'>, count: number): Promise<number[]> {
  if (!Number.isInteger(count) || count < 1 || count > STOP_CONT_LIMIT) {
    throw new KemariError('KEMARI_PROTOCOL', `${count} round trips asked for; expected 1 to ${STOP_CONT_LIMIT}`);
  }
  const times: number[] = [];
  for (let round = 0; round < count; round++) {
    const start = performance.now();
    await machine.pause();
    await machine.resume();
    times.push((performance.now() - start) * MICROSECONDS_PER_MILLISECOND);
  }
  return times;
}
