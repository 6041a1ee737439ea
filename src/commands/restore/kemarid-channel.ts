import { Socket } from 'node:net';
import { KemariError } from '../../base/errors.js';
import { readJsonLines } from '../../base/json-lines.js';
import { addon } from '../../native/addon.js';
import { DESCRIPTORS_FD, ORDERS_FD, type RestoreOrder, type StandByOrder } from './orders.js';

/** An offer as the restore process gets it: what the control connection lets through, and what kemarid adds. */
const ORDER_LIMIT_BYTES = 512 << 10;

/** How long the stream and lease connections of an accepted primary may take; kemarid gives up before. */
const LINKS_TIMEOUT_MS = 15_000;

/** The primary's two connections. They belong to whoever takes them. */
export interface LinkFds {
  readonly streamFd: number;
  readonly leaseFd: number;
}

/** The restore process's end of what kemarid tells it. */
export class KemaridChannel {
  readonly #orders = new Socket({ fd: ORDERS_FD, readable: true, writable: false });
  readonly #queue: RestoreOrder[] = [];
  #waiting: ((order: RestoreOrder | undefined) => void) | undefined;
  #ended = false;

  constructor() {
    readJsonLines(
      this.#orders,
      (order) => {
        this.#arrived(order as RestoreOrder);
      },
      () => this.#orders.destroy(),
      ORDER_LIMIT_BYTES,
    );
    this.#orders.on('error', () => this.#orders.destroy());
    this.#orders.on('close', () => {
      this.#ended = true;
      this.#waiting?.(undefined);
    });
  }

  /** Errors: `KEMARI_PROTOCOL` when something else comes, or nothing. */
  async standByOrder(): Promise<StandByOrder> {
    const order = await this.#next();
    if (order?.order === 'stand-by') return order;
    throw new KemariError(
      'KEMARI_PROTOCOL',
      'kemarid gave no order to stand by; it starts this program, nobody else does',
    );
  }

  /** Waits for both connections, then hangs up. Errors: `KEMARI_PEER_TIMEOUT` when they do not come. */
  async links(): Promise<LinkFds> {
    const fds = new Map<'stream' | 'lease', number>();
    const timer = setTimeout(() => this.#orders.destroy(), LINKS_TIMEOUT_MS);
    try {
      while (fds.size < 2) {
        const order = await this.#next();
        // It was sent before the order that tells of it.
        const fd = order?.order === 'link' ? addon.receiveDescriptor(DESCRIPTORS_FD) : -1;
        if (order?.order !== 'link' || fd < 0) {
          throw new KemariError('KEMARI_PEER_TIMEOUT', 'the primary was accepted and did not connect stream and lease');
        }
        fds.set(order.kind, fd);
      }
    } catch (error) {
      for (const fd of fds.values()) new Socket({ fd }).destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      this.close();
    }
    return { streamFd: fds.get('stream') ?? -1, leaseFd: fds.get('lease') ?? -1 };
  }

  close(): void {
    this.#orders.destroy();
  }

  #arrived(order: RestoreOrder): void {
    if (this.#waiting === undefined) this.#queue.push(order);
    else this.#waiting(order);
  }

  #next(): Promise<RestoreOrder | undefined> {
    const queued = this.#queue.shift();
    if (queued !== undefined || this.#ended) return Promise.resolve(queued);
    return new Promise((resolve) => {
      this.#waiting = (order) => {
        this.#waiting = undefined;
        resolve(order);
      };
    });
  }
}
