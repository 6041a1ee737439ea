import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { addon } from '../../src/native/addon.js';
import type {
  LinkReceiver,
  LinkReceiverOptions,
  LinkSender,
  LinkSenderOptions,
  ReceiverEvent,
  SenderEvent,
} from '../../src/native/link.js';
import { testing, type TestCheckpoint } from '../native/testing.js';
import { until } from '../ring/until.js';

export const PAGE_BYTES = 4096;
const RELAY_EVERY_MS = 1;
const RELAY_BYTES = 65536;
/** Unit of st_blocks. */
const BLOCK_BYTES = 512;
export const KEY = Buffer.alloc(32, 0x5a);
export const TOKEN = Buffer.from('0123456789abcdef');

/** Guest memory of a standby that a test can look into. */
export class StandbyRam {
  readonly fd: number;
  readonly bytes: Uint8Array;

  constructor(readonly pageCount: number) {
    this.fd = addon.createRam('standby-ram', pageCount * PAGE_BYTES);
    this.bytes = new Uint8Array(testing.map(this.fd, pageCount * PAGE_BYTES));
  }

  page(number: number): Buffer {
    return Buffer.from(this.bytes.buffer, number * PAGE_BYTES, PAGE_BYTES);
  }

  /** Memory that the file takes. */
  usedBytes(): number {
    return fstatSync(this.fd).blocks * BLOCK_BYTES;
  }

  close(): void {
    closeSync(this.fd);
  }
}

type EventOf<Event extends { type: string }, Type extends Event['type']> = Extract<Event, { type: Type }>;

/** What one end of a link has told so far. */
export class Heard<Event extends { type: string }> {
  readonly events: Event[] = [];
  readonly listener = (event: Event): void => {
    this.events.push(event);
  };

  all<Type extends Event['type']>(type: Type): EventOf<Event, Type>[] {
    return this.events.filter((event): event is EventOf<Event, Type> => event.type === type);
  }

  /** Waits for the first event of this type that fits. */
  async first<Type extends Event['type']>(
    type: Type,
    fits: (event: EventOf<Event, Type>) => boolean = () => true,
  ): Promise<EventOf<Event, Type>> {
    await until(
      () => this.all(type).some(fits),
      `event ${type}; heard: ${this.events.map((event) => JSON.stringify(event, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))).join(' ')}`,
    );
    return this.all(type).find(fits)!;
  }
}

export interface StandOptions {
  readonly pageCount?: number;
  readonly deviceCount?: number;
  /** The lease connection goes through `leaseRelay`. */
  readonly relayed?: boolean;
  readonly sender?: Partial<LinkSenderOptions>;
  readonly receiver?: Partial<LinkReceiverOptions>;
}

export function makeSender(
  streamFd: number,
  leaseFd: number,
  heard: Heard<SenderEvent>,
  more: Partial<LinkSenderOptions>,
) {
  return new addon.LinkSender({
    streamFd,
    leaseFd,
    key: KEY,
    token: TOKEN,
    ramBytes: 256 * PAGE_BYTES,
    deviceCount: 2,
    leaseMs: 300,
    gate: new addon.OutputGate(),
    onEvent: heard.listener,
    ...more,
  });
}

export function makeReceiver(
  streamFd: number,
  leaseFd: number,
  ramFd: number,
  heard: Heard<ReceiverEvent>,
  more: Partial<LinkReceiverOptions>,
) {
  return new addon.LinkReceiver({
    streamFd,
    leaseFd,
    ramFd,
    key: KEY,
    token: TOKEN,
    deviceCount: 2,
    leaseMs: 300,
    takeoverTimeoutMs: 500,
    onEvent: heard.listener,
    ...more,
  });
}

/** Carries bytes between two sockets, as long as it is told to. */
export class Relay {
  /** While false, what is sent stays where it is, as on a link that was cut for a while. */
  flowing = true;
  readonly #timer = setInterval(() => {
    if (this.flowing) this.#carry();
  }, RELAY_EVERY_MS);

  constructor(
    readonly one: number,
    readonly other: number,
  ) {}

  #carry(): void {
    for (const [from, to] of [
      [this.one, this.other],
      [this.other, this.one],
    ] as const) {
      const message = testing.receiveMessage(from, RELAY_BYTES, 0);
      if (message !== null && message.bytes.length > 0) testing.sendMessage(to, message.bytes, []);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    closeSync(this.one);
    closeSync(this.other);
  }
}

/** Both ends of a link, connected by sockets of this process. */
export class Stand {
  readonly ram: StandbyRam;
  readonly sent = new Heard<SenderEvent>();
  readonly received = new Heard<ReceiverEvent>();
  readonly sender: LinkSender;
  readonly receiver: LinkReceiver;
  readonly leaseRelay: Relay | undefined;
  #closed = false;

  private constructor(options: StandOptions) {
    const { pageCount = 256, deviceCount = 2 } = options;
    this.ram = new StandbyRam(pageCount);
    const [streamA, streamB] = addon.socketPair();
    const [leaseA, near] = addon.socketPair();
    let leaseB = near;
    if (options.relayed === true) {
      const [far, end] = addon.socketPair();
      this.leaseRelay = new Relay(near, far);
      leaseB = end;
    }
    const ramBytes = pageCount * PAGE_BYTES;
    this.sender = makeSender(streamA, leaseA, this.sent, { ramBytes, deviceCount, ...options.sender });
    this.receiver = makeReceiver(streamB, leaseB, this.ram.fd, this.received, { deviceCount, ...options.receiver });
  }

  /** A stand that is closed when the test ends. */
  static of(t: ExecutionContext, options: StandOptions = {}): Stand {
    const stand = new Stand(options);
    t.teardown(async () => {
      await stand.close();
    });
    return stand;
  }

  submit(checkpoint: Partial<TestCheckpoint> & { epoch: bigint }): void {
    testing.submitCheckpoint({ link: this.sender }, checkpointOf(checkpoint));
  }

  /** Submits, waits for the commit, acknowledges, waits for the ack. */
  async sync(checkpoint: Partial<TestCheckpoint> & { epoch: bigint }): Promise<void> {
    this.submit(checkpoint);
    await this.received.first('committed', (event) => event.epoch === checkpoint.epoch);
    this.receiver.ack(checkpoint.epoch);
    await this.sent.first('acked', (event) => event.epoch === checkpoint.epoch);
  }

  async connected(): Promise<this> {
    await Promise.all([this.sent.first('connected'), this.received.first('connected')]);
    return this;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([this.sender.close(), this.receiver.close()]);
    this.leaseRelay?.close();
    this.ram.close();
  }
}

export function checkpointOf(checkpoint: Partial<TestCheckpoint> & { epoch: bigint }): TestCheckpoint {
  const nothing = new Uint8Array();
  return {
    ranges: [],
    pages: nothing,
    machineState: nothing,
    devices: checkpoint.epoch === 0n ? [] : [nothing, nothing],
    console: nothing,
    guestPaused: false,
    ...checkpoint,
  };
}

/** Pages of random bytes, which nothing makes smaller. */
export function noise(pageCount: number): Buffer {
  return randomBytes(pageCount * PAGE_BYTES);
}
