import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { execa } from 'execa';
import { waitUntil } from '../../base/deadline.js';
import { KemariError } from '../../base/errors.js';
import type { Undo } from '../undo.js';

const START_TIMEOUT_MS = 20_000;

/**
 * Serves raw images of this machine to hosts that reach it at `address`, for as long as this process lives; returns the URI of
 * each, in order.
 *
 * Errors: `KEMARI_BENCH_STORAGE`.
 */
export async function serveDisks(address: string, images: readonly string[], undo: Undo): Promise<string[]> {
  const port = await freePort(address);
  const exports = images.flatMap((image, index) => [
    ...[
      '--blockdev',
      JSON.stringify({ driver: 'file', 'node-name': `disk${index}`, filename: image, discard: 'unmap' }),
    ],
    ...['--export', `type=nbd,id=export${index},node-name=disk${index},name=disk${index},writable=on`],
  ]);
  const server = `addr.type=inet,addr.host=${address},addr.port=${port},max-connections=0`;
  // Its parent's death is its own (setpriv(1)).
  const command = ['--pdeathsig', 'KILL', 'qemu-storage-daemon', '--nbd-server', server, ...exports];
  const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  child.once('error', (error) => said.push(error.message));
  undo.defer('the storage of the hosts', () => child.kill('SIGKILL'));
  const ended = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  const listens = async (): Promise<boolean> =>
    ended() || (await execa('ss', ['-Htln', `src ${address} and sport = :${port}`])).stdout !== '';
  if ((await waitUntil(listens, { timeoutMs: START_TIMEOUT_MS })) && !ended()) {
    return images.map((_, index) => `nbd://${address}:${port}/disk${index}`);
  }
  throw new KemariError('KEMARI_BENCH_STORAGE', `qemu-storage-daemon does not listen at ${address}: ${said.join('')}`);
}

async function freePort(address: string): Promise<number> {
  const server = createServer();
  server.listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
