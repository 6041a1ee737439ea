import { performance } from 'node:perf_hooks';
import { Writable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Protection } from '../../../src/commands/device-model/protection.js';
import type { ProtectionParts } from '../../../src/commands/device-model/protection-parts.js';
import { DEFAULT_PROTECTION, type ProtectionOptions } from '../../../src/model/protection.js';
import type { HeldOutput, OutputGate } from '../../../src/native/ring.js';
import type { Capture, CaptureResult, CaptureResume } from '../../../src/native/capture.js';
import type { LinkSender, LinkSenderStats, SenderEvent } from '../../../src/native/link.js';

const STATS: LinkSenderStats = {
  ...{ queuedBytes: 0, sentBytes: 0, rawBytes: 0, pagesSent: 0, ackedEpoch: 0n, bytesPerSecond: 0, rttUs: 0 },
  pages: { raw: 0, zero: 0, lz4: 0, delta: 0, unchanged: 0 },
  ackUs: { last: 0, p50: 0, p99: 0 },
  leaseValid: true,
  cpuUs: 0,
};

/** Bounds a failure. */
const TOLD_WITHIN_MS = 20_000;

/** A capture that the test answers: each order waits until it is told how it ended. */
export class PlayedCapture implements Capture {
  readonly told: string[];
  readonly #ends: ((result: CaptureResult | Error) => void)[] = [];
  #resume: CaptureResume = 'at-once';

  constructor(told: string[]) {
    this.told = told;
  }

  attach(): Promise<void> {
    this.told.push('attach');
    return Promise.resolve();
  }

  copyRound(): Promise<{ pages: number; bytes: number; dirtyLeft: number }> {
    this.told.push('copy-round');
    return Promise.resolve({ pages: 100, bytes: 409600, dirtyLeft: 0 });
  }

  countDirty(): Promise<number> {
    return Promise.resolve(0);
  }

  capture(epoch: bigint, resume: CaptureResume, guestPaused = false): Promise<CaptureResult> {
    this.told.push(`capture ${epoch} ${resume}${guestPaused ? ' paused' : ''}`);
    this.#resume = resume;
    return new Promise((resolve, reject) => {
      this.#ends.push((end) => {
        if (end instanceof Error) reject(end);
        else resolve(end);
      });
    });
  }

  /** The oldest order that waits has ended so. */
  end(epoch: bigint, throughSequence: bigint): void {
    const resumed = this.#resume === 'at-once';
    const timings = { triggerUs: 0, stopUs: 0, scanUs: 0, copyUs: 0, serializeUs: 0, resumeUs: 0 };
    const guest = { busyShare: 1, dirtyPages: 10, stateBytes: 28_000, wasRunning: true };
    const known = { pauseUs: 1000, ...guest, resumed, timings };
    this.#ends.shift()?.({ epoch, throughSequence, ...known });
  }

  fail(error: Error): void {
    this.#ends.shift()?.(error);
  }

  resume(): Promise<{ pauseUs: number; resumed: boolean }> {
    this.told.push('capture-resume');
    return Promise.resolve({ pauseUs: 3000, resumed: true });
  }

  detach(): Promise<void> {
    this.told.push('detach');
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.told.push('capture-close');
    return Promise.resolve();
  }
}

/** A protection whose link, capture, gate and machine only remember what they were told. */
export class PlayedProtection {
  readonly told: string[] = [];
  readonly states: string[] = [];
  readonly capture = new PlayedCapture(this.told);
  readonly protection: Protection;
  machineRuns = true;
  peer: 'runs' | 'gone' | 'unreachable' = 'unreachable';
  submitted = 0;
  writesAnswered = true;
  #onLink: (event: SenderEvent) => void = () => undefined;
  #onHeld: ((held: HeldOutput) => void) | undefined;

  constructor(t: ExecutionContext, options: Partial<ProtectionOptions> = {}) {
    this.protection = new Protection(this.#parts({ ...DEFAULT_PROTECTION, ...options }));
    // Its timers end with it.
    t.teardown(() => {
      this.protection.input({ type: 'machine-died', reason: 'the test is over' });
    });
  }

  /** Connected, copied, epoch 1 acknowledged. */
  static async protected(t: ExecutionContext, options: Partial<ProtectionOptions> = {}): Promise<PlayedProtection> {
    const played = new PlayedProtection(t, options);
    const started = played.protection.start();
    played.link({ type: 'connected' });
    await started;
    await played.until('capture 1 at-once', 'capture 1 after-ack', 'capture 1 never');
    played.capture.end(1n, 0n);
    await settled();
    played.link({ type: 'acked', epoch: 1n });
    await settled();
    played.told.length = 0;
    return played;
  }

  link(event: SenderEvent): void {
    this.#onLink(event);
  }

  held(sequence: bigint, output: HeldOutput['output'] = 'request'): void {
    this.#onHeld?.({ output, sequence });
  }

  /** Waits until one of these was told. */
  async until(...expected: string[]): Promise<void> {
    const endMs = performance.now() + TOLD_WITHIN_MS;
    while (!this.told.some((what) => expected.includes(what))) {
      if (performance.now() > endMs) throw new Error(`expected ${expected.join(' or ')}, told ${this.told.join(', ')}`);
      await settled();
    }
  }

  #parts(options: ProtectionOptions): ProtectionParts {
    const tell = (what: string): Promise<void> => {
      this.told.push(what);
      return Promise.resolve();
    };
    return {
      ...{ options, paused: false },
      gate: this.#gate(),
      disks: [{ submitted: () => this.submitted }],
      machine: { pause: () => tell('pause'), resume: () => tell('resume') },
      openLink: (onEvent) => {
        this.#onLink = onEvent;
        return this.#link();
      },
      openCapture: () => this.capture,
      askPeer: async () => {
        await tell('ask-peer');
        return { answer: this.peer, text: this.peer };
      },
      goesOnAlone: () => void this.told.push('note-alone'),
      endMachine: async () => {
        await tell('end-machine');
        return this.writesAnswered;
      },
      machineRuns: () => this.machineRuns,
      logger: pino(
        new Writable({
          write: (_chunk, _encoding, done) => {
            done();
          },
        }),
      ),
      onState: ({ phase }) => this.states.push(phase),
      onCopying: () => undefined,
      onLog: () => undefined,
    };
  }

  #gate(): OutputGate {
    const { told } = this;
    return {
      close: () => void told.push('gate-close'),
      open: () => void told.push('gate-open'),
      release: (sequence) => void told.push(`release ${sequence}`),
      cut: () => 0n,
      setHeldListener: (listener) => {
        this.#onHeld = listener;
      },
      requireLease: (required) => void told.push(`require-lease ${required}`),
      renewLease: () => undefined,
      endLease: () => void told.push('end-lease'),
      counters: () => ({ passed: 0, held: 0, released: 0 }),
      ...{ isOpen: false, lastSequence: 0n, hasLease: true },
    };
  }

  #link(): LinkSender {
    return {
      send: (word) => void this.told.push(`send ${word}`),
      stats: () => STATS,
      close: () => {
        this.told.push('link-close');
        return Promise.resolve();
      },
    };
  }
}

/** Everything that was due in this turn of the event loop has happened. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
