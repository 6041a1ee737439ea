import { closeSync } from 'node:fs';
import { testing } from '../native/testing.js';
import type { SplitDriver } from './driver.js';
import type { GuestRam, Region } from './guest-ram.js';
import {
  encode,
  Feature,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FLAG_VERSION,
  HEADER_BYTES,
  ProtocolFeature,
  Request,
  u32,
  u64,
} from './vhost-user.js';

/** How long the front-end waits for a reply before the test fails. */
const REPLY_TIMEOUT_MS = 20_000;
const MAX_REPLY_BYTES = 4096;

/** The area in which a back-end writes what it has in flight (vhost-user: Inflight I/O tracking). `fd` is the holder's. */
export interface Inflight {
  readonly fd: number;
  readonly mmapSize: bigint;
  readonly mmapOffset: bigint;
}

/** The front-end side of a vhost-user socket: plays QEMU. Typed messages by the specification, `raw` for hostile ones. */
export class FrontEnd {
  protocolFeatures = 0n;
  features = 0n;
  #open = true;

  constructor(
    readonly fd: number,
    readonly ram: GuestRam,
  ) {}

  raw(bytes: Uint8Array, fds: readonly number[] = []): void {
    testing.sendMessage(this.fd, bytes, fds);
  }

  /** Sends a message to which the protocol has no reply. With REPLY_ACK negotiated it asks for one and checks it. */
  send(request: number, payload: Uint8Array, fds: readonly number[] = []): void {
    const acknowledged = (this.protocolFeatures & ProtocolFeature.REPLY_ACK) !== 0n;
    this.raw(encode(request, payload, FLAG_VERSION | (acknowledged ? FLAG_NEED_REPLY : 0)), fds);
    if (!acknowledged) return;
    const { payload: reply } = this.reply(request);
    const result = reply.readBigUInt64LE();
    if (result !== 0n) throw new Error(`request ${request} was refused with ${result.toString()}`);
  }

  /** Sends a message and returns what the back-end answers. */
  ask(request: number, payload: Uint8Array = Buffer.alloc(0), fds: readonly number[] = []): Reply {
    this.raw(encode(request, payload), fds);
    return this.reply(request);
  }

  /** The reply to `request`; throws when the back-end closed the connection or answers something else. */
  reply(request: number, timeoutMs = REPLY_TIMEOUT_MS): Reply {
    const message = testing.receiveMessage(this.fd, MAX_REPLY_BYTES, timeoutMs);
    if (message === null) throw new Error(`no reply to request ${request}`);
    if (message.bytes.length === 0) throw new Error(`connection closed instead of a reply to request ${request}`);
    const flags = message.bytes.readUInt32LE(4);
    const sizeBytes = message.bytes.readUInt32LE(8);
    const answered = message.bytes.readUInt32LE(0);
    if (answered !== request || flags !== (FLAG_VERSION | FLAG_REPLY)) {
      throw new Error(`reply to request ${answered} with flags ${flags} instead of request ${request}`);
    }
    if (message.bytes.length !== HEADER_BYTES + sizeBytes) {
      throw new Error(`reply of ${message.bytes.length} bytes that says it has ${sizeBytes} after the header`);
    }
    return { payload: message.bytes.subarray(HEADER_BYTES), fds: message.fds };
  }

  /** True once the back-end has closed the connection; unread replies are thrown away. */
  closedByPeer(timeoutMs = REPLY_TIMEOUT_MS): boolean {
    for (;;) {
      const message = testing.receiveMessage(this.fd, MAX_REPLY_BYTES, timeoutMs);
      if (message === null) return false;
      for (const fd of message.fds) closeSync(fd);
      if (message.bytes.length === 0) return true;
    }
  }

  /** The first steps of QEMU: features of both kinds, owner. `extra` are device feature bits to take besides the ring's. */
  negotiate(extra = 0n, without = 0n): void {
    const offered = this.ask(Request.GET_FEATURES).payload.readBigUInt64LE();
    if ((offered & Feature.VHOST_USER_PROTOCOL_FEATURES) !== 0n) {
      const wanted = Object.values(ProtocolFeature).reduce((mask, bit) => mask | bit, 0n);
      const mask = this.ask(Request.GET_PROTOCOL_FEATURES).payload.readBigUInt64LE() & wanted;
      this.send(Request.SET_PROTOCOL_FEATURES, u64(mask));
      this.protocolFeatures = mask;
    }
    this.send(Request.SET_OWNER, Buffer.alloc(0));
    const ring =
      Feature.VERSION_1 | Feature.RING_INDIRECT_DESC | Feature.RING_EVENT_IDX | Feature.VHOST_USER_PROTOCOL_FEATURES;
    this.features = offered & (ring | extra) & ~without;
    this.send(Request.SET_FEATURES, u64(this.features));
  }

  setMemory(regions: readonly Region[] = this.ram.regions, fds?: readonly number[]): void {
    const payload = Buffer.concat([
      u32(regions.length, 0),
      ...regions.map((region) => u64(region.gpa, region.sizeBytes, region.frontEndAddress, region.fileOffset)),
    ]);
    this.send(Request.SET_MEM_TABLE, payload, fds ?? regions.map(() => this.ram.fd));
  }

  addMemory(region: Region, fd = this.ram.fd): void {
    const payload = u64(0n, region.gpa, region.sizeBytes, region.frontEndAddress, region.fileOffset);
    this.send(Request.ADD_MEM_REG, payload, [fd]);
  }

  removeMemory(region: Region): void {
    const payload = u64(0n, region.gpa, region.sizeBytes, region.frontEndAddress, region.fileOffset);
    this.send(Request.REM_MEM_REG, payload);
  }

  /**
   * Hands a queue over and enables it; `base` is where the device goes on in the avail ring. As in QEMU the kick
   * descriptor arrives signalled: a ring starts with its first kick (vhost-user: Ring states).
   */
  startQueue(driver: SplitDriver, base = 0): void {
    const { index } = driver;
    this.send(Request.SET_VRING_NUM, u32(index, driver.size));
    this.send(Request.SET_VRING_BASE, u32(index, base));
    this.setAddresses(driver);
    this.send(Request.SET_VRING_CALL, u64(BigInt(index)), [driver.callFd]);
    this.send(Request.SET_VRING_ERR, u64(BigInt(index)), [driver.errorFd]);
    testing.writeEvent(driver.kickFd);
    this.send(Request.SET_VRING_KICK, u64(BigInt(index)), [driver.kickFd]);
    this.enable(index, true);
  }

  setAddresses(driver: SplitDriver): void {
    const [descriptor, used, available] = [driver.descriptorGpa, driver.usedGpa, driver.availableGpa].map((gpa) =>
      this.ram.frontEndAddressOf(gpa),
    );
    this.send(Request.SET_VRING_ADDR, Buffer.concat([u32(driver.index, 0), u64(descriptor!, used!, available!, 0n)]));
  }

  enable(index: number, enabled: boolean): void {
    this.send(Request.SET_VRING_ENABLE, u32(index, enabled ? 1 : 0));
  }

  /** Stops a queue and returns where it stood in the avail ring. */
  stopQueue(index: number): number {
    this.askStop(index);
    return this.stopped(index);
  }

  /** The two halves of stopQueue, for what happens between them. */
  askStop(index: number): void {
    this.raw(encode(Request.GET_VRING_BASE, u32(index, 0)));
  }

  stopped(index: number, timeoutMs = REPLY_TIMEOUT_MS): number {
    const { payload } = this.reply(Request.GET_VRING_BASE, timeoutMs);
    if (payload.readUInt32LE(0) !== index) throw new Error(`GET_VRING_BASE of ${index} answered for another queue`);
    return payload.readUInt32LE(4);
  }

  getInflight(queues: number, size: number): Inflight {
    const { payload, fds } = this.ask(Request.GET_INFLIGHT_FD, inflightPayload(0n, 0n, queues, size));
    if (fds.length !== 1) throw new Error(`GET_INFLIGHT_FD came with ${fds.length} descriptors instead of 1`);
    return { fd: fds[0]!, mmapSize: payload.readBigUInt64LE(0), mmapOffset: payload.readBigUInt64LE(8) };
  }

  setInflight(inflight: Inflight, queues: number, size: number): void {
    const payload = inflightPayload(inflight.mmapSize, inflight.mmapOffset, queues, size);
    this.send(Request.SET_INFLIGHT_FD, payload, [inflight.fd]);
  }

  getConfig(offset: number, sizeBytes: number): Buffer {
    const { payload } = this.ask(
      Request.GET_CONFIG,
      Buffer.concat([u32(offset, sizeBytes, 0), Buffer.alloc(sizeBytes)]),
    );
    return payload.subarray(12);
  }

  close(): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }
}

export interface Reply {
  readonly payload: Buffer;
  readonly fds: readonly number[];
}

/** As QEMU lays it out: padded to 24 bytes. */
export function inflightPayload(mmapSize: bigint, mmapOffset: bigint, queues: number, size: number): Buffer {
  const payload = Buffer.alloc(24);
  payload.writeBigUInt64LE(mmapSize, 0);
  payload.writeBigUInt64LE(mmapOffset, 8);
  payload.writeUInt16LE(queues, 16);
  payload.writeUInt16LE(size, 18);
  return payload;
}
