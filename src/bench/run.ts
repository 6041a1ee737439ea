import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import { findQemu } from '../hypervisor/qemu/binary.js';
import { StagedGuest, type GuestImage } from '../stage/staged-guest.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import { KEMARI_PROTECTIONS, LINKS, WORKLOADS, type LinkShape } from './catalogue.js';
import { ClientRoot } from './client-root.js';
import { KemariGuest } from './kemari-guest.js';
import { COLO_DISKS, ColoGuest } from './colo-guest.js';
import { formatFolded } from './folded-stacks.js';
import type { Ledger, Profile } from './ledger.js';
import { onStage } from './on-stage.js';
import { PLAIN_DISK, PlainGuest } from './plain-guest.js';
import { CountedEpochs } from './counted-epochs.js';
import { countCells, planTurns, type Cell, type Matrix, type Turn } from './plan.js';
import { Profiler } from './profiler.js';
import { Progress } from './progress.js';
import type { Subject } from './subject.js';
import type { Undo } from './undo.js';

/** The one that all protections can do: COLO fails with others. */
const MACHINE = 'pc';
/** A guest that is copied most of the time answers late. */
const ANSWER_TIMEOUT_MS = 60_000;
const SERVICES = 'http,redis,netperf';

export interface RunOptions {
  readonly matrix: Matrix;
  /** Of each workload that runs for a time. */
  readonly seconds: number;
  /** Of the guest. */
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly image: GuestImage;
  /** Folder for where the processor's time went; undefined: nobody looks, which costs nothing. */
  readonly profileFolder: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Measures what the ledger lacks. What fails is in the ledger too, with its reason. Returns at once when aborted, with
 * everything taken down.
 */
export async function runBench(ledger: Ledger, options: RunOptions): Promise<void> {
  const turns = planTurns(options.matrix, (cell) => ledger.has(cell));
  if (turns.length === 0 || options.signal.aborted) return;
  await onStage(options.signal, (stage, undo) =>
    new BenchRun(stage, ledger, options, new Progress(countCells(turns)), undo).run(turns),
  );
}

class BenchRun {
  readonly #stage: TwoHosts;
  readonly #ledger: Ledger;
  readonly #options: RunOptions;
  readonly #progress: Progress;
  readonly #undo: Undo;

  constructor(stage: TwoHosts, ledger: Ledger, options: RunOptions, progress: Progress, undo: Undo) {
    this.#stage = stage;
    this.#ledger = ledger;
    this.#options = options;
    this.#progress = progress;
    this.#undo = undo;
  }

  async run(turns: readonly Turn[]): Promise<void> {
    const subjectOf = await this.#boot(turns);
    let link: string | undefined;
    for (const turn of turns) {
      if (this.#options.signal.aborted) return;
      if (turn.link !== link) await this.#lay(LINKS[turn.link] ?? {});
      link = turn.link;
      await this.#turn(turn, subjectOf(turn.protection));
    }
  }

  async #lay({ rate, delayMs }: LinkShape): Promise<void> {
    const { cables } = this.#stage;
    await cables.lengthen(delayMs);
    await cables.shape('sync', rate);
  }

  /** Boots what the turns ask for; what it returns says which guest a protection belongs to. */
  async #boot(turns: readonly Turn[]): Promise<(protection: string) => Subject> {
    const stage = this.#stage;
    const { image } = this.#options;
    this.#progress.say('the client unpacks its programs');
    this.#client = await ClientRoot.unpack(stage, image.rootDisk);
    const disks = [PLAIN_DISK, ...Object.values(COLO_DISKS)];
    const otherDisks = await Promise.all(disks.map((disk) => stage.storage.copyImage(disk, image.rootDisk)));
    this.#progress.say('the guests boot');
    const guest = await StagedGuest.boot(stage, {
      image,
      machine: MACHINE,
      services: SERVICES,
      otherDisks,
      memoryMib: this.#options.memoryMib,
      vcpus: this.#options.vcpus,
    });
    await guest.startDaemon('A');
    const daemon = await guest.startDaemon('B');
    const like = await guest.info('A');
    const kemari = await KemariGuest.adopt(guest, daemon);
    const isOurs = (protection: string): boolean => Object.hasOwn(KEMARI_PROTECTIONS, protection);
    if (turns.every(({ protection }) => isOurs(protection))) return () => kemari;
    const world = { stage, like, qemu: await findQemu(process.env), services: SERVICES };
    const plain = await PlainGuest.boot(world, this.#undo);
    const colo = new ColoGuest(world, this.#undo);
    return (protection) => (isOurs(protection) ? kemari : protection === 'colo' ? colo : plain);
  }

  #client: ClientRoot | undefined;

  async #turn(turn: Turn, subject: Subject): Promise<void> {
    try {
      await subject.enter(turn.protection);
      await subject.shell.waitUntilUp(ANSWER_TIMEOUT_MS);
    } catch (error) {
      for (const workload of turn.workloads) this.#fail({ ...turn, workload }, 0, error);
      await subject.leave();
      return;
    }
    for (const name of turn.workloads) {
      if (this.#options.signal.aborted) break;
      this.#progress.step(`${turn.link}, ${turn.protection}, ${name}, repeat ${turn.repeat + 1}`);
      await this.#measure(turn, name, subject);
    }
    await subject.leave();
  }

  #fail({ link, protection, workload, repeat }: Cell, seconds: number, error: unknown): void {
    if (this.#options.signal.aborted) return;
    const failure = messageOf(error);
    this.#progress.say(`failed: ${failure}`);
    this.#ledger.add({ type: 'sample', link, protection, workload, repeat, value: undefined, seconds, failure });
  }

  async #measure({ link, protection, repeat }: Turn, name: string, subject: Subject): Promise<void> {
    const workload = WORKLOADS.find((one) => one.name === name);
    const client = this.#client;
    if (workload === undefined || client === undefined) throw new TypeError(`no workload ${name}, or no client`);
    const cell = { type: 'sample', link, protection, workload: name, repeat } as const;
    const epochs = new CountedEpochs(subject);
    await epochs.begin();
    const beganAtMs = performance.now();
    const tookS = (): number => (performance.now() - beganAtMs) / 1000;
    try {
      const { result: value, profiles } = await this.#profiled(
        subject,
        [link, protection, name, repeat].join('-'),
        () =>
          workload.run({
            shell: subject.shell,
            seconds: this.#options.seconds,
            client: (command, timeoutMs) => client.run(command, timeoutMs),
            counted: (work) => epochs.only(work),
          }),
      );
      const seconds = tookS();
      const figures = await epochs.end();
      const told = {
        ...(figures === undefined ? {} : { epochs: figures }),
        ...(profiles === undefined ? {} : { profiles }),
      };
      this.#ledger.add({ ...cell, value, seconds, ...told });
    } catch (error) {
      this.#fail(cell, tookS(), error);
    }
  }

  /** Looks where the processor is meanwhile, where that is asked for and the subject can be looked at. */
  async #profiled<T>(
    subject: Subject,
    name: string,
    work: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly profiles: Profile[] | undefined }> {
    const folder = this.#options.profileFolder;
    const processes = folder === undefined ? undefined : await subject.profiled?.();
    if (folder === undefined || processes === undefined) return { result: await work(), profiles: undefined };
    const profiler = await Profiler.start(join(folder, `${name}.perf`), processes);
    this.#undo.defer('perf', () => profiler.abandon());
    const result = await work();
    const profiles: Profile[] = [];
    for (const [process, stacks] of await profiler.finish()) {
      const file = `flame-${name}-${process}.folded`;
      await writeFile(join(folder, file), formatFolded(stacks));
      profiles.push({ process, file });
    }
    return { result, profiles };
  }
}
