import { writeSync } from 'node:fs';
import { pino, type Logger } from 'pino';

/** kemari-dm's standard output is its domain's log. */
const LOG_FD = 1;

/** pino's number for `warn`. */
const LEVEL_WARN = 40;

/** Console text that is logged each minute at most: a guest must not be able to fill the host's disk. */
export const CONSOLE_LOG_LIMIT_BYTES = 1 << 20;
const CONSOLE_LOG_PERIOD_MS = 60_000;

/** A console line without end is cut here. */
const LINE_LIMIT_BYTES = 4096;

/** The log of a domain: one JSON object a line, with `time` as ISO 8601; written before the call returns. */
export function openDomainLog(name: string, domid: number): Logger {
  return pino(
    { level: 'debug', base: { domain: name, domid }, timestamp: pino.stdTimeFunctions.isoTime },
    new LogFile(LOG_FD),
  );
}

/** Where records go. One that cannot be written (a full disk) is lost, and counted: a guest is worth more than its log. */
export class LogFile {
  readonly #fd: number;
  #lost = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(record: string): void {
    // A record may have been cut short: the next one begins a line of its own.
    const bytes = Buffer.from(`${this.#lost === 0 ? '' : this.#lostRecord()}${record}`);
    try {
      if (writeSync(this.#fd, bytes) === bytes.length) this.#lost = 0;
      else this.#lost += 1;
    } catch {
      this.#lost += 1;
    }
  }

  #lostRecord(): string {
    const msg = `${this.#lost} records before this one could not be written`;
    return `\n${JSON.stringify({ level: LEVEL_WARN, time: new Date().toISOString(), event: 'log-lost', msg })}\n`;
  }
}

/** Puts what a guest prints into its log, a line a record (`source: "console"`), within the limit. */
export class ConsoleLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  #line = '';
  #periodStartMs = -Infinity;
  #loggedBytes = 0;
  #droppedBytes = 0;

  constructor(logger: Logger, now: () => number) {
    this.#logger = logger.child({ source: 'console' });
    this.#now = now;
  }

  write(bytes: Buffer): void {
    const lines = (this.#line + bytes.toString('latin1')).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) this.#log(line);
    if (this.#line.length > LINE_LIMIT_BYTES) this.flush();
  }

  /** Logs a line that has not ended yet. */
  flush(): void {
    if (this.#line !== '') this.#log(this.#line);
    this.#line = '';
  }

  #log(line: string): void {
    const text = Buffer.from(line.replace(/\r$/, ''), 'latin1').toString('utf8');
    const nowMs = this.#now();
    if (nowMs - this.#periodStartMs >= CONSOLE_LOG_PERIOD_MS) {
      if (this.#droppedBytes > 0) this.#logger.warn(`${this.#droppedBytes} bytes of console output were not logged`);
      this.#periodStartMs = nowMs;
      this.#loggedBytes = 0;
      this.#droppedBytes = 0;
    }
    if (this.#loggedBytes + line.length > CONSOLE_LOG_LIMIT_BYTES) {
      this.#droppedBytes += line.length;
      return;
    }
    this.#loggedBytes += line.length;
    this.#logger.info(text);
  }
}
