import { spawn } from 'node:child_process';
import type { FenceOutcome, FenceTarget } from './contract.js';

export interface FenceCommand {
  /** A shell command of this host's operator. */
  readonly command: string;
  readonly timeoutMs: number;
}

/** How much of what a fence prints is kept: its end, where the reason stands. */
const OUTPUT_LIMIT_BYTES = 4096;

/** How long the output of a fence that has ended is waited for. */
const OUTPUT_GRACE_MS = 50;

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
    let settled = false;
    const settle = (ok: boolean, how: string): void => {
      if (settled) return;
      settled = true;
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
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      const tell = (): void => {
        clearTimeout(rest);
        if (timedOut) settle(false, `did not end within ${timeoutMs} ms and was killed`);
        else if (signal !== null) settle(false, `was ended by ${signal}`);
        else settle(code === 0, `ended with exit code ${code ?? 'unknown'}`);
      };
      // What it printed last may still be on its way; what it left running in the background may keep its output open.
      const rest = setTimeout(tell, OUTPUT_GRACE_MS);
      child.once('close', tell);
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
