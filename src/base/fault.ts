import { KemariError } from './errors.js';
import { FAULT_POINTS, type FaultPoint } from './fault-points.js';
import { suggest } from './suggest.js';

/**
 * What can happen at a point. `kill`: SIGKILL of the process itself. `stop`: SIGSTOP; somebody else lets it go on. `stall`: the
 * whole process stands still for a time. `delay`: the thread that is there sleeps for a time, the others go on.
 */
export const FAULT_ACTIONS = ['kill', 'stop', 'stall', 'delay'] as const;
export type FaultAction = (typeof FAULT_ACTIONS)[number];

/** What KEMARI_FAULT says: `POINT[:ACTION][@N]`; `stall` and `delay` take milliseconds, `stall=700`. */
export interface Fault {
  readonly point: FaultPoint;
  readonly action: FaultAction;
  /** 0 where the action has none. */
  readonly durationMs: number;
  /** It happens once: the time, from 1, that the point is passed. */
  readonly pass: number;
}

const FORM = /^(?<point>[^:@]*)(?::(?<action>[^=@]*)(?:=(?<ms>[^@]*))?)?(?:@(?<pass>.*))?$/;

const MAX_MS = 3_600_000;
const MAX_PASS = 1_000_000_000;

/** Errors: `KEMARI_FAULT_POINT` for a point that there is not, `KEMARI_FAULT_ACTION` for the rest; with what there is. */
export function parseFault(text: string): Fault {
  const { point = '', action = 'kill', ms, pass } = FORM.exec(text)?.groups ?? {};
  if (!isPoint(point)) {
    const known = Object.keys(FAULT_POINTS);
    const near = suggest(point, known);
    throw new KemariError(
      'KEMARI_FAULT_POINT',
      `KEMARI_FAULT names a point that there is not: "${point}"${near === undefined ? '' : `; did you mean "${near}"?`} ` +
        `The points: ${known.join(', ')}`,
    );
  }
  if (!isAction(action)) {
    const near = suggest(action, FAULT_ACTIONS);
    throw badAction(
      text,
      `there is no action "${action}"${near === undefined ? '' : `; did you mean "${near}"?`} ` +
        'The actions: kill, stop, stall=MS, delay=MS',
    );
  }
  const takesTime = action === 'stall' || action === 'delay';
  if (!takesTime && ms !== undefined) throw badAction(text, `${action} takes no time`);
  return {
    ...{ point, action },
    durationMs: takesTime ? wholeNumber(text, `${action}=MS`, ms ?? '', MAX_MS) : 0,
    pass: pass === undefined ? 1 : wholeNumber(text, '@N', pass, MAX_PASS),
  };
}

function isPoint(word: string): word is FaultPoint {
  return Object.hasOwn(FAULT_POINTS, word);
}

function isAction(word: string): word is FaultAction {
  return (FAULT_ACTIONS as readonly string[]).includes(word);
}

function wholeNumber(text: string, what: string, digits: string, most: number): number {
  const value = /^[1-9]\d{0,9}$/.test(digits) ? Number(digits) : most + 1;
  if (value <= most) return value;
  throw badAction(text, `${what} takes a whole number from 1 to ${most}; found "${digits}"`);
}

function badAction(text: string, why: string): KemariError {
  return new KemariError('KEMARI_FAULT_ACTION', `KEMARI_FAULT is "${text}": ${why}`);
}

let armed: FaultPoint | undefined;
let passArmed: () => void = () => undefined;

/** Calls `onPass` whenever the point is passed by code in TypeScript. src/native/fault.ts does this. */
export function watchFaultPoint(point: FaultPoint, onPass: () => void): void {
  armed = point;
  passArmed = onPass;
}

/** Here a process may be told to fail. */
export function faultPoint(point: FaultPoint): void {
  if (point === armed) passArmed();
}
