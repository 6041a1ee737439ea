import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { Stand } from './stand.js';
import { until } from './until.js';

let next = 0;

/** Starts nbdkit with these arguments on a socket of the stand; it ends with the stand. Returns its URI. */
export async function startNbdkit(stand: Stand, args: readonly string[]): Promise<string> {
  return (await startNbdkitServer(stand, args)).uri;
}

export async function startNbdkitServer(
  stand: Stand,
  args: readonly string[],
  socket = stand.file(`nbd${(next += 1)}.sock`),
): Promise<{
  readonly socket: string;
  readonly uri: string;
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
}> {
  rmSync(socket, { force: true });
  const server = spawn('nbdkit', ['--foreground', '--exit-with-parent', '--unix', socket, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => {
    server.once('exit', () => {
      resolve();
    });
    server.once('error', () => {
      resolve();
    });
  });
  stand.onClose(async () => {
    server.kill('SIGKILL');
    await exited;
  });
  await until(async () => (await listens(socket)) || server.exitCode !== null, 'nbdkit listens');
  if (server.exitCode !== null) throw new Error(`nbdkit ${args.join(' ')} ended with ${server.exitCode}`);
  return { socket, uri: `nbd+unix:///?socket=${socket}`, process: server, exited };
}

/** The socket's file is there before anyone listens: only a connection proves it. */
function listens(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const attempt = connect(socket);
    attempt.once('connect', () => {
      attempt.destroy();
      resolve(true);
    });
    attempt.once('error', () => {
      resolve(false);
    });
  });
}
