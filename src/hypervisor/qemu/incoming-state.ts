import { Socket } from 'node:net';
import { assert } from '../../base/assert.js';
import { KemariError, messageOf } from '../../base/errors.js';
import type { QmpClient, QmpEvent } from './qmp-client.js';

/** A machine's state is some 10 KB a device: QEMU reads it in milliseconds, unless it is starved. */
const LOAD_TIMEOUT_MS = 20_000;

/**
 * The state that a waiting machine (`-incoming defer`) will run with, on its way to QEMU: our end of a socket pair, of which
 * QEMU inherited the other. QEMU listens from its start on, so that at a takeover only bytes have to be sent.
 */
export class IncomingState {
  readonly #socket: Socket;
  readonly #qemuFd: () => number;
  #settled: Promise<QmpEvent> | undefined;

  /** `fd` belongs to this; `qemuFd` tells the number by which QEMU knows the other end. */
  constructor(fd: number, qemuFd: () => number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    // A QEMU that ends while it reads is reported by what waits for it.
    this.#socket.on('error', () => this.#socket.destroy());
    this.#qemuFd = qemuFd;
  }

  /** Has QEMU wait for the state, and report what becomes of it. Errors: those of QMP. */
  async prepare(qmp: QmpClient): Promise<void> {
    await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    await qmp.execute('migrate-incoming', { uri: `fd:${this.#qemuFd()}` });
  }

  /**
   * Sends the state; fulfilled when QEMU has loaded it. Once. Errors: `KEMARI_MACHINE_STATE`; QEMU ends then.
   */
  async send(state: Buffer, qmp: QmpClient): Promise<void> {
    assert(this.#settled === undefined, 'a machine loads one state');
    this.#settled = qmp.nextEvent('MIGRATION', LOAD_TIMEOUT_MS, isFinal);
    this.#socket.end(state);
    let outcome: unknown;
    try {
      outcome = (await this.#settled).data['status'];
    } catch (error) {
      throw refused(messageOf(error), error);
    }
    if (outcome !== 'completed') throw refused(`it reports "${String(outcome)}"`);
  }

  close(): void {
    this.#socket.destroy();
  }
}

function isFinal(event: QmpEvent): boolean {
  return event.data['status'] === 'completed' || event.data['status'] === 'failed';
}

function refused(found: string, cause?: unknown): KemariError {
  return new KemariError('KEMARI_MACHINE_STATE', `QEMU did not take the machine's state: ${found}`, { cause });
}
