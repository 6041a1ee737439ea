import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { writeJsonLine } from '../../base/json-lines.js';
import { launchDeviceModel } from '../../host/launch.js';
import type { RegisteredDomain, Registry } from '../../host/registry.js';
import { addon } from '../../native/addon.js';
import type { RestoreOrder, StandByOrder } from '../restore/orders.js';

/** The restore process of a domain; KEMARI_RESTORE names another program, for tests. */
const RESTORE_PROGRAM = fileURLToPath(new URL('../../cli/xc-kemari-restore.js', import.meta.url));

/** kemarid's ends of the two channels to a restore process, which lives on by itself once it has its links. */
export class RestoreProcess {
  readonly #orders: Socket;
  readonly #descriptorsFd: number;
  #open = true;

  private constructor(orders: Socket, descriptorsFd: number) {
    this.#orders = orders;
    this.#descriptorsFd = descriptorsFd;
    // It has gone: whoever waits for it learns that from the launch.
    orders.on('error', () => orders.destroy());
  }

  /**
   * Starts the restore process of a registered domain and waits until its machine waits for state and is found to fit. When
   * that fails nothing of the domain is left.
   *
   * Errors: those of `launchDeviceModel`, with what the process found.
   */
  static async start(
    registry: Registry,
    domain: RegisteredDomain,
    order: StandByOrder,
    options: { readonly onProgress: (text: string) => void; readonly signal: AbortSignal },
  ): Promise<RestoreProcess> {
    const [ordersFd, theirOrdersFd] = addon.socketPair();
    const [descriptorsFd, theirDescriptorsFd] = addon.socketPair();
    const restore = new RestoreProcess(new Socket({ fd: ordersFd, readable: true, writable: true }), descriptorsFd);
    restore.#send(order);
    try {
      const program = process.env['KEMARI_RESTORE'] ?? RESTORE_PROGRAM;
      const launched = launchDeviceModel(registry, domain, {
        ...{ program, flags: [], extraFds: [theirOrdersFd, theirDescriptorsFd], ...options },
      });
      closeSync(theirOrdersFd);
      closeSync(theirDescriptorsFd);
      await launched;
      return restore;
    } catch (error) {
      restore.close();
      throw error;
    }
  }

  /** Hands it one of the primary's connections; the descriptor stays the caller's. Errors: `KEMARI_DESCRIPTOR` when it has gone. */
  link(kind: 'stream' | 'lease', fd: number): void {
    addon.sendDescriptor(this.#descriptorsFd, fd);
    this.#send({ order: 'link', kind });
  }

  /** Nothing more comes; without both links it then ends. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#orders.end();
    closeSync(this.#descriptorsFd);
  }

  #send(order: RestoreOrder): void {
    writeJsonLine(this.#orders, order);
  }
}
