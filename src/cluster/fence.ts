import { spawn } from 'node:child_process';
import type { FenceOutcome, FenceTarget } from './contract.js';

export interface FenceCommand {
  /** A shell command of this host's operator. */
  readonly command: string;
  readonly timeoutMs: number;
}

/** How much of what a fence prints is kept: its end, where the reason stands. */
const OUTPUT_LIMIT_BYTES = 4096;

/** Arms of a power switch may hang on the network: how long a fence may take unless the operator says otherwise. */
export const DEFAULT_FENCE_TIMEOUT_MS = 30_000;

/**
 * Runs a fence command and waits for its end; one that takes longer than its timeout is killed with all that it started. It
 * gets KEMARI_DOMAIN, KEMARI_DOMAIN_UUID, KEMARI_PEER_HOST_ID and KEMARI_PEER_ADDRESSES (separated by spaces). Never throws:
 * what cannot be started did not fence.
 */
export function runFence({ command, timeoutMs }: FenceCommand, target: FenceTarget): Promise<FenceOutcome> {
  return new Promise((resolve) => {
    const startedAtMs = performance.now();
    const child = spawn('/bin/sh', ['-c', command], {
      cwd: '/',
      env: { ...process.env, ...fenceEnvironment(target) },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that a timeout ends all of it; and a Ctrl-C meant for us does not.
      detached: true,
    });
    let output = '';
    let timedOut = false;
    const keep = (bytes: Buffer): void => {
      output = (output + bytes.toString('utf8')).slice(-OUTPUT_LIMIT_BYTES);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const killAll = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      killAll();
    }, timeoutMs);
    const settle = (ok: boolean, how: string): void => {
      clearTimeout(timer);
      child.stdout.destroy();
      child.stderr.destroy();
      const said = output.trim() === '' ? 'it printed nothing' : `it printed: ${output.trim()}`;
      const tookMs = Math.round(performance.now() - startedAtMs);
      resolve({ ok, text: `"${command}" ${how} after ${tookMs} ms; ${said}` });
    };
    child.once('error', (error) => {
      settle(false, `could not be started: ${error.message}`);
    });
    // 'exit', not 'close': what a fence leaves running in the background may hold its output open.
    child.once('exit', (code, signal) => {
      if (timedOut) settle(false, `did not end within ${timeoutMs} ms and was killed`);
      else if (signal !== null) settle(false, `was ended by ${signal}`);
      else settle(code === 0, `ended with exit code ${code ?? 'unknown'}`);
    });
  });
}

function fenceEnvironment(target: FenceTarget): Record<string, string> {
  return {
    KEMARI_DOMAIN: target.domainName,
    KEMARI_DOMAIN_UUID: target.domainUuid,
    KEMARI_PEER_HOST_ID: target.hostId,
    KEMARI_PEER_ADDRESSES: target.addresses.map(({ host }) => host).join(' '),
  };
}
