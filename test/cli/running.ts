import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Registry } from '../../src/host/registry.js';
import { FAKE_DM, temporaryHost } from '../host/testing.js';

/** The command under test. */
export const KEMARI = fileURLToPath(new URL('../../src/cli/kemari.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `kemari` that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  /** Resolves once standard output (or error) holds this text. */
  readonly saying: (text: string, where?: 'stdout' | 'stderr') => Promise<void>;
}

/** A host whose kemari-dm is played by the fake one, and `kemari` for it. */
export class TestHost {
  readonly registry: Registry;

  constructor(t: ExecutionContext) {
    this.registry = temporaryHost(t);
    writeFileSync(join(this.registry.host.root, 'kernel'), 'a kernel');
  }

  /** A domain file of the host. */
  file(name: string, more = ''): string {
    const path = join(this.registry.host.root, `${name}.toml`);
    writeFileSync(path, `name = "${name}"\nmemory = 64\nkernel = "kernel"\n${more}\n`);
    return path;
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    return startProgram(process.execPath, [KEMARI, '--root', this.registry.host.root, ...args], {
      KEMARI_DM: FAKE_DM,
      ...env,
    });
  }

  /** Runs `kemari` with an empty standard input until it ends. */
  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const running = this.start(args, env);
    running.child.stdin?.end();
    return running.outcome;
  }
}

/** Starts a program whose streams are pipes. */
export function startProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: 'pipe' });
  const said = { stdout: '', stderr: '' };
  const watchers = new Set<() => void>();
  for (const where of ['stdout', 'stderr'] as const) {
    child[where].setEncoding('utf8').on('data', (text: string) => {
      said[where] += text;
      for (const watcher of watchers) watcher();
    });
  }
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, ...said });
      for (const watcher of watchers) watcher();
    });
  });
  let closed = false;
  child.on('close', () => (closed = true));
  const saying = (text: string, where: 'stdout' | 'stderr' = 'stdout'): Promise<void> =>
    new Promise((resolve, reject) => {
      const watcher = (): void => {
        if (said[where].includes(text)) resolve();
        else if (closed) reject(new Error(`ended without "${text}": ${JSON.stringify(said)}`));
        else return;
        watchers.delete(watcher);
      };
      watchers.add(watcher);
      watcher();
    });
  return { child, outcome, saying };
}
