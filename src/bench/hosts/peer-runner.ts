import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { KemariError } from '../../base/errors.js';
import { findQemu } from '../../hypervisor/qemu/binary.js';
import { freeze, thaw } from '../freeze.js';
import { startPeer, type PeerHost } from '../peer-guest.js';
import { Undo } from '../undo.js';
import { PEER_DONE, type PeerOrder } from './peer-order.js';

const HERE: PeerHost = {
  command: (inner) => inner,
  run: async ([program = '', ...args]) => (await execa(program, args)).stdout,
};

/**
 * On a host, runs the peer that it is told to for as long as somebody is there: whoever asked has gone when the input ends, and
 * nothing is left then.
 *
 * Errors: `KEMARI_USAGE` for what is no order; those of the peer's start.
 */
export async function runPeer(input: Readable, output: Writable): Promise<void> {
  const undo = new Undo();
  const lines = createInterface({ input });
  lines.once('close', () => void undo.run());
  try {
    let processes: readonly number[] | undefined;
    for await (const line of lines) {
      if (processes === undefined) {
        const order = orderOf(line);
        const qemu = await findQemu(process.env);
        ({ processes } = await startPeer({ ...order, qemu }, { ...order, host: HERE }, undo));
      } else if (line === 'freeze') {
        freeze(processes);
      } else if (line === 'thaw') {
        thaw(processes);
      } else {
        throw new KemariError('KEMARI_USAGE', `no order to a peer: ${line}`);
      }
      output.write(`${PEER_DONE}\n`);
    }
  } finally {
    await undo.run();
  }
}

function orderOf(line: string): PeerOrder {
  try {
    return JSON.parse(line) as PeerOrder;
  } catch (error) {
    throw new KemariError('KEMARI_USAGE', 'bench-peer is for kemari bench --hosts, which tells it what to run', {
      cause: error,
    });
  }
}
