import { writeSync } from 'node:fs';
import { KemariError, asKemariError, errorToWire } from '../base/errors.js';

/** What the shell sees. */
export const EXIT_OK = 0;
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/** Prints the result of a verb: as text, or with --json as one JSON value. */
export function printResult(json: boolean, value: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : text);
}

/** Prints an error on stderr, `kemari: message [KEMARI_CODE]` or JSON, and returns the exit code it means. */
export function printError(error: unknown, json: boolean): number {
  const known = asKemariError(error);
  // Synchronously: the process may end right after.
  writeSync(
    2,
    json ? `${JSON.stringify({ error: errorToWire(known) })}\n` : `kemari: ${known.message} [${known.code}]\n`,
  );
  if (known.code === 'KEMARI_INTERNAL' && !json && error instanceof Error) writeSync(2, `${error.stack ?? ''}\n`);
  return known.code === 'KEMARI_USAGE' ? EXIT_USAGE : EXIT_FAILURE;
}

/** A mistake in the arguments. */
export function usageError(message: string): KemariError {
  return new KemariError('KEMARI_USAGE', message);
}
