import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findDomain, xl } from '../../src/hypervisor/xen/toolstack.js';
import { createWaitingDomain } from '../../src/hypervisor/xen/waiting-domain.js';
import { addon } from '../../src/native/addon.js';
import type { LinkReceiver, LinkSender, ReceiverEvent, SenderEvent } from '../../src/native/link.js';

/**
 * Runs in dom0, on a guest that is at work: `move-guest.js NAME NEW-NAME EPOCHS`. Protects it by another domain of the same host,
 * through a real link, destroys it, and lets it go on in the other. Prints what it measured as one line of JSON.
 */
export interface MoveReport {
  readonly domid: number;
  readonly epochs: number;
  readonly createMs: number;
  readonly pausesUs: readonly number[];
  /** From the guest's last word here to its first there, but for the time that destroying takes. */
  readonly takeMs: number;
  readonly restoreMs: number;
}

/** How long a guest works between two cuts. */
const WORK_MS = 30;
/** Generous: both ends may be on one processor, which is emulated. */
const LEASE_MS = 60_000;

/** Waits for events of a link. */
class Ears<Event extends { readonly type: string }> {
  readonly #heard: Event[] = [];
  #wake: () => void = () => undefined;
  readonly listener = (event: Event): void => {
    this.#heard.push(event);
    this.#wake();
  };

  async until(fits: (event: Event) => boolean): Promise<void> {
    while (!this.#heard.some(fits)) {
      const lost = this.#heard.find(({ type }) => type === 'lost');
      if (lost !== undefined) throw new Error(`the link is lost: ${JSON.stringify(lost)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function moveGuest(name: string, newName: string, epochs: number): Promise<MoveReport> {
  const directory = await mkdtemp(join(tmpdir(), 'kemari-move-'));
  const { domid, config } = await findDomain(name);
  const shape = await new addon.XenDomain({ domid }).shape();
  const before = performance.now();
  const there = await createWaitingDomain({
    // Two of one host: they have to differ.
    config: { ...config, c_info: { ...config.c_info, name: newName, uuid: randomUUID() } },
    ...{ shape, directory, domid: undefined },
  });
  const createMs = performance.now() - before;
  const standby = new addon.XenDomain({ domid: there });

  const [streamFd, farStreamFd] = addon.socketPair();
  const [leaseFd, farLeaseFd] = addon.socketPair();
  const gate = new addon.OutputGate();
  const common = {
    key: randomBytes(32),
    token: randomBytes(16),
    deviceCount: 0,
    leaseMs: LEASE_MS,
    connectTimeoutMs: LEASE_MS,
  };
  const receiverEars = new Ears<ReceiverEvent>();
  const senderEars = new Ears<SenderEvent>();
  const receiver: LinkReceiver = new addon.LinkReceiver({
    ...{ ...common, streamFd: farStreamFd, leaseFd: farLeaseFd, takeoverTimeoutMs: 2 * LEASE_MS },
    ...{ xen: { domid: there, frames: shape.frameCount }, onEvent: receiverEars.listener },
  });
  const sender: LinkSender = new addon.LinkSender({
    ...{ ...common, streamFd, leaseFd, gate, ramBytes: shape.frameCount * 4096, onEvent: senderEars.listener },
  });
  await senderEars.until(({ type }) => type === 'connected');
  const capture = new addon.Capture({ xenDomid: domid, gate, devices: [], console: undefined, link: sender });
  try {
    await capture.attach();
    await capture.copyRound();
    await capture.copyRound();
    const pausesUs: number[] = [];
    for (let epoch = 1n; epoch <= BigInt(epochs); epoch++) {
      const isLast = epoch === BigInt(epochs);
      const { pauseUs } = await capture.capture(epoch, isLast ? 'never' : 'at-once');
      pausesUs.push(pauseUs);
      await receiverEars.until((event) => event.type === 'committed' && event.epoch === epoch);
      receiver.ack(epoch);
      if (!isLast) await delay(WORK_MS);
    }
    await xl('destroy', String(domid));
    const decided = performance.now();
    const { machineState } = await receiver.take();
    const taken = performance.now();
    standby.restore(machineState);
    standby.unpause();
    const restoreMs = performance.now() - taken;
    return { domid: there, epochs, createMs, pausesUs, takeMs: taken - decided, restoreMs };
  } finally {
    await capture.close();
    await sender.close();
    await receiver.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const [name, newName, epochs] = process.argv.slice(2);
console.log(JSON.stringify(await moveGuest(name!, newName!, Number(epochs))));
