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

/** A KemariError as it travels in a JSON line and as `--json` prints it. */
export interface WireError {
  readonly code: `KEMARI_${string}`;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

function isKemariCode(code: unknown): code is `KEMARI_${string}` {
  return typeof code === 'string' && /^KEMARI_[A-Z0-9_]+$/.test(code);
}

/**
 * Anything that was thrown, as a KemariError. What the addon throws carries its own code; whatever has none is a mistake
 * of ours and becomes `KEMARI_INTERNAL`, with its stack in the details.
 */
export function asKemariError(error: unknown): KemariError {
  if (error instanceof KemariError) return error;
  if (error instanceof Error) {
    const { code, errno, syscall } = error as Error & { code?: unknown; errno?: unknown; syscall?: unknown };
    if (isKemariCode(code)) return new KemariError(code, error.message, { cause: error, details: { errno, syscall } });
  }
  const stack = error instanceof Error ? error.stack : undefined;
  return new KemariError('KEMARI_INTERNAL', messageOf(error), { cause: error, details: { stack } });
}

/** The form of an error that a peer process can rebuild with `errorFromWire`. */
export function errorToWire(error: unknown): WireError {
  const { code, message, details } = asKemariError(error);
  return { code, message, details };
}

/** Rebuilds what `errorToWire` made. The input is another process's: anything malformed becomes `KEMARI_PROTOCOL`. */
export function errorFromWire(value: unknown): KemariError {
  const { code, message, details } = (value ?? {}) as { code?: unknown; message?: unknown; details?: unknown };
  if (!isKemariCode(code) || typeof message !== 'string') {
    return new KemariError('KEMARI_PROTOCOL', `malformed error in a reply: ${JSON.stringify(value)}`);
  }
  const known = typeof details === 'object' && details !== null ? (details as Record<string, unknown>) : {};
  return new KemariError(code, message, { details: known });
}
