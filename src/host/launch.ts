import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { KemariError, errorFromWire } from '../base/errors.js';
import { readableLogLine } from '../base/log-line.js';
import type { RegisteredDomain, Registry } from './registry.js';
import { logPath } from './paths.js';
import { FIRST_EXTRA_FD, LOCK_FD, REPORT_FD, type StartupLine } from './startup.js';

/** How long a kemari-dm that has failed or was interrupted may take to end before it is killed. */
const END_TIMEOUT_MS = 5_000;

/** A log longer than this is set aside as `<name>.log.1` when the domain is created anew. */
export const LOG_LIMIT_BYTES = 16 << 20;

/** Lines of the log that are shown when a kemari-dm dies without a word. */
const LAST_LOG_LINES = 10;
const LAST_LOG_BYTES = 8 << 10;

export interface LaunchOptions {
  /** The program that node runs: kemari-dm.js. */
  readonly program: string;
  /** What it is told besides --root and --domid. */
  readonly flags: readonly string[];
  /** Descriptors that it gets from FIRST_EXTRA_FD on; they stay the caller's. */
  readonly extraFds?: readonly number[];
  /** What kemari-dm is doing, in words, as it reports it. */
  readonly onProgress: (text: string) => void;
  /** Ends the launch: kemari-dm is told to stop (SIGTERM) and `KEMARI_INTERRUPTED` is thrown. */
  readonly signal: AbortSignal;
}

/**
 * Starts the kemari-dm of a registered domain in a session of its own, its output going to the domain's log, and waits
 * until it says that the guest runs. It takes over the domain's lock. When that fails nothing of the domain is left.
 *
 * Errors: what kemari-dm reports; `KEMARI_DM_DIED` with the last lines of the log when it ends without a report;
 * `KEMARI_INTERRUPTED`.
 */
export async function launchDeviceModel(
  registry: Registry,
  domain: RegisteredDomain,
  options: LaunchOptions,
): Promise<void> {
  const log = openLog(registry, domain.name);
  const startOffset = fstatSync(log).size;
  const child = spawnDeviceModel(registry, domain, options, log);
  closeSync(log);
  closeSync(domain.lock.fd);
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`);
    });
    child.once('error', (error) => {
      resolve(error.message);
    });
  });
  const pipe = child.stdio[REPORT_FD] as Readable;
  const interrupted = waitForAbort(options.signal);
  try {
    const outcome = await Promise.race([readReport(pipe, options.onProgress), interrupted.promise]);
    if (outcome === 'ready') {
      child.unref();
      return;
    }
    if (outcome === 'interrupted') child.kill('SIGTERM');
    const end = await endOf(child, exited);
    await registry.removeIfStale(domain.domid);
    if (outcome === 'interrupted') {
      throw new KemariError('KEMARI_INTERRUPTED', `creation of domain "${domain.name}" was interrupted`);
    }
    throw outcome ?? died(registry, domain, end, startOffset);
  } finally {
    interrupted.forget();
    pipe.destroy();
  }
}

function waitForAbort(signal: AbortSignal): { promise: Promise<'interrupted'>; forget: () => void } {
  let onAbort: () => void = () => undefined;
  const promise = new Promise<'interrupted'>((resolve) => {
    onAbort = () => {
      resolve('interrupted');
    };
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
  const forget = (): void => {
    signal.removeEventListener('abort', onAbort);
  };
  return { promise, forget };
}

/** Waits for the end of a kemari-dm, which should be near, and kills it when it is not. */
async function endOf(child: ChildProcess, exited: Promise<string>): Promise<string> {
  const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
  try {
    return await exited;
  } finally {
    clearTimeout(timer);
  }
}

function spawnDeviceModel(
  registry: Registry,
  domain: RegisteredDomain,
  options: LaunchOptions,
  log: number,
): ChildProcess {
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', log, log];
  stdio[REPORT_FD] = 'pipe';
  stdio[LOCK_FD] = domain.lock.fd;
  for (const [index, fd] of (options.extraFds ?? []).entries()) stdio[FIRST_EXTRA_FD + index] = fd;
  return spawn(
    process.execPath,
    [options.program, '--root', registry.host.root, '--domid', String(domain.domid), ...options.flags],
    // In the root directory it keeps no file system of the caller busy.
    { cwd: '/', detached: true, stdio },
  );
}

/** Reads what kemari-dm says until it is ready or has failed; undefined when it went away without either. */
async function readReport(
  pipe: Readable,
  onProgress: (text: string) => void,
): Promise<'ready' | KemariError | undefined> {
  for await (const line of createInterface({ input: pipe })) {
    const said = JSON.parse(line) as StartupLine;
    if ('ready' in said) return 'ready';
    if ('error' in said) return errorFromWire(said.error);
    onProgress(said.progress);
  }
  return undefined;
}

function openLog(registry: Registry, name: string): number {
  const path = logPath(registry.host, name);
  const status = statSync(path, { throwIfNoEntry: false });
  if (status !== undefined && status.size > LOG_LIMIT_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o600);
}

function died(registry: Registry, domain: RegisteredDomain, end: string, startOffset: number): KemariError {
  const path = logPath(registry.host, domain.name);
  const lines = lastLines(path, startOffset);
  const said = lines.length === 0 ? 'it logged nothing' : `the end of ${path}:\n  ${lines.join('\n  ')}`;
  return new KemariError(
    'KEMARI_DM_DIED',
    `kemari-dm of domain "${domain.name}" ended (${end}) before the guest ran; ${said}`,
    { details: { log: path, lines } },
  );
}

/** The last lines of a log that were written after `startOffset`. */
function lastLines(path: string, startOffset: number): string[] {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const from = Math.max(startOffset, size - LAST_LOG_BYTES);
    const text = Buffer.alloc(Math.max(size - from, 0));
    const got = readSync(fd, text, 0, text.length, from);
    return text.toString('utf8', 0, got).split('\n').filter(Boolean).slice(-LAST_LOG_LINES).map(readableLogLine);
  } finally {
    closeSync(fd);
  }
}
