import { once } from 'node:events';
import { createServer, Socket, type Server } from 'node:net';

/** How much of the latest output a client is shown when it connects. */
export const CONSOLE_HISTORY_BYTES = 64 << 10;

/** Clients at a time; one more is closed at once. */
export const CONSOLE_CLIENT_LIMIT = 16;

/** A client that reads so slowly that this much waits for it is closed: the guest does not wait for it. */
export const CONSOLE_BACKLOG_LIMIT_BYTES = 1 << 20;

/** Typed bytes that may wait for a guest that does not read; beyond it clients are not read either. */
const INPUT_BACKLOG_LIMIT_BYTES = 64 << 10;

/**
 * A domain's console: what passed the gate goes to everyone who is connected to the console socket and into the history;
 * what they type goes to the guest. It outlives the machines that a domain restarts with.
 */
export class ConsoleHub {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #onOutput: (bytes: Buffer) => void;
  #history: Buffer[] = [];
  #historyBytes = 0;
  #guest: Socket | undefined;

  private constructor(onOutput: (bytes: Buffer) => void) {
    this.#onOutput = onOutput;
    this.#server = createServer((client) => {
      this.#serve(client);
    });
  }

  /** Listens on `path`; `onOutput` sees every byte once. */
  static async listen(path: string, onOutput: (bytes: Buffer) => void): Promise<ConsoleHub> {
    const hub = new ConsoleHub(onOutput);
    hub.#server.listen(path);
    await once(hub.#server, 'listening');
    return hub;
  }

  /** The console of a new machine: our end of the outlet, which belongs to the hub from here on. */
  attach(outletFd: number): void {
    this.#guest?.destroy();
    const guest = new Socket({ fd: outletFd, readable: true, writable: true });
    this.#guest = guest;
    guest.on('data', (bytes: Buffer) => {
      this.#spread(bytes);
    });
    // The other end is in our own process and goes with the machine.
    guest.on('error', () => guest.destroy());
    guest.on('drain', () => {
      for (const client of this.#clients) client.resume();
    });
    for (const client of this.#clients) client.resume();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#guest?.destroy();
    for (const client of this.#clients) client.end(() => client.destroy());
    await closed;
  }

  #spread(bytes: Buffer): void {
    this.#onOutput(bytes);
    this.#history.push(bytes);
    this.#historyBytes += bytes.length;
    while (this.#historyBytes - (this.#history[0]?.length ?? 0) >= CONSOLE_HISTORY_BYTES) {
      this.#historyBytes -= this.#history.shift()?.length ?? 0;
    }
    for (const client of this.#clients) {
      client.write(bytes);
      if (client.writableLength > CONSOLE_BACKLOG_LIMIT_BYTES) client.destroy();
    }
  }

  #serve(client: Socket): void {
    if (this.#clients.size >= CONSOLE_CLIENT_LIMIT) {
      client.destroy();
      return;
    }
    this.#clients.add(client);
    client.on('error', () => client.destroy());
    client.on('close', () => this.#clients.delete(client));
    for (const bytes of this.#history) client.write(bytes);
    client.on('data', (bytes: Buffer) => {
      const guest = this.#guest;
      if (guest === undefined || guest.destroyed) return;
      guest.write(bytes);
      if (guest.writableLength <= INPUT_BACKLOG_LIMIT_BYTES) return;
      for (const other of this.#clients) other.pause();
    });
  }
}
