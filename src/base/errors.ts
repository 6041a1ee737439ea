/**
 * The one error kemari throws for what others did wrong: the guest, the peer, a file, an argument, the host.
 * `code` is stable and documented; `message` says what failed, what was found, what was expected and what to do.
 */
export class KemariError extends Error {
  readonly code: `KEMARI_${string}`;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: `KEMARI_${string}`,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'KemariError';
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
