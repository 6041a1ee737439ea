import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import type { GuestImage } from '../stage/staged-guest.js';
import { LINKS, WORKLOADS } from './catalogue.js';
import { CountedEpochs } from './counted-epochs.js';
import { formatFolded } from './folded-stacks.js';
import type { HostsOptions } from './hosts/connect.js';
import { HostsSite } from './hosts/hosts-site.js';
import type { Ledger, Profile } from './ledger.js';
import { onStage } from './on-stage.js';
import { countCells, planTurns, type Cell, type Matrix, type Turn } from './plan.js';
import { Profiler } from './profiler.js';
import { Progress } from './progress.js';
import type { GuestShape, Site } from './site.js';
import { StageSite } from './stage-site.js';
import type { Subject } from './subject.js';
import { untilAborted, type Undo } from './undo.js';

/** A guest that is copied most of the time answers late. */
const ANSWER_TIMEOUT_MS = 60_000;

export interface RunOptions {
  readonly matrix: Matrix;
  /** Of each workload that runs for a time. */
  readonly seconds: number;
  readonly shape: GuestShape;
  readonly image: GuestImage;
  /** Machines to measure on; two hosts of this one when undefined. */
  readonly hosts: HostsOptions | undefined;
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
  const { image, shape, hosts, signal } = options;
  if (turns.length === 0 || signal.aborted) return;
  const measure = (site: Site, undo: Undo): Promise<void> =>
    new BenchRun(site, ledger, options, new Progress(countCells(turns)), undo).run(turns);
  if (hosts === undefined) {
    await onStage(signal, (stage, undo) => measure(new StageSite(stage, image, shape, undo), undo));
  } else {
    await untilAborted(signal, (undo) => measure(new HostsSite(hosts, image, shape, undo), undo));
  }
}

class BenchRun {
  readonly #site: Site;
  readonly #ledger: Ledger;
  readonly #options: RunOptions;
  readonly #progress: Progress;
  readonly #undo: Undo;

  constructor(site: Site, ledger: Ledger, options: RunOptions, progress: Progress, undo: Undo) {
    this.#site = site;
    this.#ledger = ledger;
    this.#options = options;
    this.#progress = progress;
    this.#undo = undo;
  }

  async run(turns: readonly Turn[]): Promise<void> {
    const protections = [...new Set(turns.map(({ protection }) => protection))];
    const subjectOf = await this.#site.boot(protections, (text) => {
      this.#progress.say(text);
    });
    let link: string | undefined;
    for (const turn of turns) {
      if (this.#options.signal.aborted) return;
      if (turn.link !== link) await this.#site.lay(LINKS[turn.link] ?? {});
      link = turn.link;
      await this.#turn(turn, subjectOf(turn.protection));
    }
  }

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
    if (workload === undefined) throw new TypeError(`no workload ${name}`);
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
            client: (command, timeoutMs) => this.#site.client(command, timeoutMs),
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
