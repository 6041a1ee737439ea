import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KemariError, messageOf } from '../../../src/base/errors.js';
import { checkFileSystem } from '../../../src/stage/disk-check.js';
import { HOST_NAMES } from '../../../src/stage/names.js';
import { StagedGuest } from '../../../src/stage/staged-guest.js';
import { StorageWitness } from '../../../src/stage/storage-witness.js';
import { TwoHosts } from '../../../src/stage/two-hosts.js';
import { Witness } from '../../../src/stage/witness.js';
import { GUEST_IMAGE } from '../../fixtures/guest-image.js';
import { drill, judgeWhatLeft, type Chain, type DrillFigures, type Planned } from './drill.js';
import { EvidenceReader } from './evidence.js';
import type { DrillRecord } from './record.js';
import { Transactions } from './transactions.js';

export interface RunOptions {
  readonly commit: string;
  /** Where the logs of failed drills are kept, a folder each. */
  readonly logFolder: string;
  readonly print: (line: string) => void;
  readonly onRecord: (record: DrillRecord) => void;
  readonly signal: AbortSignal;
}

/** Drills of one guest: it ends with its file system being looked at. Then a new one is booted. */
const CHAIN_LENGTH = 20;
const SERVICES = 'http,ledger,redis,traffic';

/** How long what is under way may take to find that its stage is gone. */
const LAST_ACTS_MS = 5_000;

let stages = 0;

/**
 * Carries out drills, one after the other on the same guest; a drill that fails ends its guest. Errors: those of the stage;
 * `KEMARI_INTERRUPTED`, with nothing left.
 */
export async function run(plan: readonly Planned[], options: RunOptions): Promise<void> {
  const left = [...plan];
  while (left.length > 0) {
    options.signal.throwIfAborted();
    await withStage(options, async (stage) => {
      options.print('a guest boots');
      const chain = await boot(stage);
      for (let length = 0; length < CHAIN_LENGTH && left.length > 0; length += 1) {
        if (!(await one(chain, left.shift()!, options))) return;
      }
      await checkEnd(chain, options.print);
      options.print('the guest powered off, its file system is clean');
    });
  }
}

/** Whatever happens, the stage is gone when this returns. */
async function withStage(options: RunOptions, body: (stage: TwoHosts) => Promise<void>): Promise<void> {
  const stage = await TwoHosts.up(`drills-${process.pid}-${(stages += 1)}`, { owned: true, evidence: true });
  const { signal } = options;
  const aborted = new Promise<'aborted'>((resolve) => {
    signal.addEventListener('abort', () => {
      resolve('aborted');
    });
  });
  const playing = body(stage);
  // Without its stage it ends, and soon.
  playing.catch(() => undefined);
  let outcome: unknown;
  try {
    outcome = await Promise.race([playing, aborted]);
  } finally {
    // What is played may be making something this very moment, which keeps a folder from going or brings it back.
    await stage.down().catch(() => undefined);
    await Promise.race([playing.catch(() => undefined), delay(LAST_ACTS_MS)]);
    await stage.down();
  }
  if (outcome === 'aborted') throw new KemariError('KEMARI_INTERRUPTED', 'interrupted; nothing is left');
}

async function boot(stage: TwoHosts): Promise<Chain> {
  const witness = await Witness.start(stage.machines.switch);
  const storageWitness = await StorageWitness.start(stage.machines.storage);
  const guest = await StagedGuest.boot(stage, { image: GUEST_IMAGE, memoryMib: 256, services: SERVICES });
  for (const host of HOST_NAMES) await guest.startDaemon(host);
  await Transactions.prepare(guest);
  const evidence = new EvidenceReader((host) => stage.evidenceFolder(host));
  const judged = { judged: 0, judgedChanges: 0, changes: 0 };
  return {
    ...{ stage, guest, witness, storageWitness, evidence, ...judged },
    host: 'A',
    writes: { written: [], acknowledged: [] },
  };
}

/** Whether the drill was survived. */
async function one(chain: Chain, planned: Planned, options: RunOptions): Promise<boolean> {
  const { commit, print, onRecord, logFolder } = options;
  const { seed, index, fault, policy } = planned;
  const startedAtMs = performance.now();
  const common = { commit, seed, index, fault: fault.name, policy };
  const seconds = (): number => Math.round((performance.now() - startedAtMs) / 100) / 10;
  try {
    const figures = await drill(chain, planned);
    onRecord({ ...common, survived: true, seconds: seconds(), at: new Date().toISOString(), figures });
    print(
      `ok    ${index}  ${fault.name}, ${policy}: ${figures.from} -> ${figures.to}, ` +
        `${waitText(figures)} (${seconds()} s)`,
    );
    return true;
  } catch (error) {
    options.signal.throwIfAborted();
    const logs = keepLogs(chain, planned, messageOf(error), logFolder);
    const at = new Date().toISOString();
    onRecord({ ...common, survived: false, seconds: seconds(), at, failure: messageOf(error), logs });
    print(`FAIL  ${index}  ${fault.name}, ${policy}; again: --seed ${seed} --from ${index} --count 1; logs: ${logs}`);
    for (const line of messageOf(error).split('\n').slice(0, 12)) print(`      ${line}`);
    return false;
  }
}

function waitText({ waitMs }: DrillFigures): string {
  return waitMs === undefined ? 'connections lost with both hosts' : `the client waited ${waitMs.toFixed(0)} ms`;
}

function keepLogs({ guest }: Chain, { seed, index }: Planned, failure: string, folder: string): string {
  const kept = join(folder, `${seed}-${index}`);
  mkdirSync(kept, { recursive: true });
  writeFileSync(join(kept, 'failure'), `${failure}\n`);
  for (const host of HOST_NAMES) {
    writeFileSync(join(kept, `host-${host}.log`), guest.log(host));
    cpSync(guest.stage.evidenceFolder(host), join(kept, `evidence-${host}`), { recursive: true });
  }
  return kept;
}

async function checkEnd(chain: Chain, print: RunOptions['print']): Promise<void> {
  const { guest, witness, storageWitness, host, stage } = chain;
  await guest.shutdown(host);
  const unseen = await witness.stop();
  if (unseen !== 0) throw new Error(`the witness did not see ${unseen} frames: the drills prove less than they say`);
  const lessProven = await storageWitness.stop();
  // What was seen is judged all the same, and something has to have been.
  if (lessProven !== undefined) print(`the evidence of writes has gaps: ${lessProven}`);
  const { violations } = judgeWhatLeft(chain);
  if (violations.length > 0) throw new Error(violations.join('\n'));
  if (chain.changes === 0) throw new Error('no write was seen to leave after its ack: the evidence proves nothing');
  await stage.storage.stop();
  const { clean, said } = await checkFileSystem(guest.disks[0]!.image);
  if (!clean) throw new Error(`the guest's file system is not clean:\n${said}`);
}
