import type { ReadStream, WriteStream } from 'node:tty';
import { setTimeout as delay } from 'node:timers/promises';
import { Top } from '../commands/top.js';
import { topScreen } from './top-screen.js';

export interface TopOptions {
  readonly root: string;
  readonly json: boolean;
  readonly once: boolean;
  /** Print screen after screen, as they come, for a file or a pipe. */
  readonly batch: boolean;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
}

/** The alternate screen of a terminal, and the cursor away. */
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H\u001b[J';

const CTRL_C = '\u0003';

/** `kemari top`: until q, Ctrl-C or `signal`; once, or line by line, where it is told so or has no terminal. */
export async function runTop(options: TopOptions, input: ReadStream, output: WriteStream): Promise<void> {
  const top = new Top(options.root);
  // Shares need two looks.
  await top.look();
  if (options.once || options.batch || options.json || !output.isTTY) return printAll(top, options, output);
  const quit = new AbortController();
  const onAbort = (): void => {
    quit.abort();
  };
  const onKey = (key: Buffer): void => {
    const text = key.toString('latin1');
    if (text === 'q' || text === 'Q' || text === CTRL_C) quit.abort();
  };
  options.signal.addEventListener('abort', onAbort);
  output.write(ENTER_SCREEN);
  if (input.isTTY) input.setRawMode(true);
  input.on('data', onKey);
  try {
    while (!quit.signal.aborted) {
      await pause(options.intervalMs, quit.signal);
      const [columns, rows] = output.getWindowSize();
      output.write(HOME + topScreen(await top.look(), { rows, columns }, new Date()).replaceAll('\n', '\r\n'));
    }
  } finally {
    input.off('data', onKey);
    if (input.isTTY) input.setRawMode(false);
    input.pause();
    output.write(LEAVE_SCREEN);
    options.signal.removeEventListener('abort', onAbort);
  }
}

async function printAll(top: Top, { json, once, intervalMs, signal }: TopOptions, output: WriteStream): Promise<void> {
  do {
    await pause(intervalMs, signal);
    if (signal.aborted) return;
    const rows = await top.look();
    output.write(json ? `${JSON.stringify(rows)}\n` : topScreen(rows, undefined, new Date()));
  } while (!once);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch((error: unknown) => {
    if ((error as Error).name !== 'AbortError') throw error;
  });
}
