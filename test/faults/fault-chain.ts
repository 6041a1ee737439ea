import { messageOf } from '../../src/base/errors.js';
import { asKemariError } from '../../src/base/errors.js';
import { sendSignal } from '../../src/stage/namespace.js';
import { otherHost, type HostName } from '../../src/stage/names.js';
import { GUEST_NAME } from '../../src/stage/staged-guest.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { AUTO, goesOn, isProtected, MANUAL, speaks, until, type Scene } from '../fixtures/two-hosts.js';
import type { Trial } from './trials.js';

const WRITE = 'dd if=/dev/zero of=/root/pending bs=4k count=1 conv=notrunc,fsync';

/** Trials one after the other on one guest, which starts on host A. */
export class FaultChain {
  readonly #scene: Scene;
  readonly #turns: HostName[] = ['A'];

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Where the guest runs. */
  get host(): HostName {
    return this.#turns.at(-1)!;
  }

  /** The hosts that it ran on, in order. */
  get turns(): string {
    return this.#turns.join(' ');
  }

  /** Errors: what was not as the trial says, with its point. */
  async run(armed: 'primary' | 'standby', trials: readonly Trial[]): Promise<void> {
    // Some points are passed only where something was pending at the last cut: a guest that always waits for its disk.
    await this.#scene.guest.run(`(while :; do ${WRITE}; done) >/dev/null 2>&1 &`);
    // A primary has the fault that it was started with as a standby: the first one has to become it.
    if (armed === 'primary') await this.#move(trials[0]);
    for (const [index, trial] of trials.entries()) {
      try {
        await this.#try(trial, armed === 'primary' ? trials[index + 1] : trial);
      } catch (error) {
        throw new Error(`${trial.point}${trial.how}, ${trial.kind}: ${messageOf(error)}`, { cause: error });
      }
    }
  }

  async #move(armedWith: Trial | undefined): Promise<void> {
    const { guest } = this.#scene;
    const there = otherHost(this.host);
    await this.#restartDaemon(there, armedWith);
    await guest.protect(this.host, ...MANUAL);
    await guest.kemari(this.host, 'switchover', GUEST_NAME);
    this.#turns.push(there);
    await goesOn(this.#scene);
  }

  /** `armedWith`: what the standby of this trial fails at, now or once it is a primary. */
  async #try(trial: Trial, armedWith: Trial | undefined): Promise<void> {
    const { stage, guest } = this.#scene;
    const here = this.host;
    const there = otherHost(here);
    const { point, kind } = trial;
    await this.#beAlone();
    await stage.cables.heal();
    await this.#restartDaemon(there, armedWith);
    const failing = armedWith === trial ? there : here;
    const before = this.#failures(failing, trial);
    const failed = (): Promise<void> =>
      until(`host ${failing} fails at ${point}`, () => this.#failures(failing, trial) > before);
    const startedAtMs = nowMs();
    switch (kind) {
      case 'primary dies':
      case 'primary is fenced asleep':
        await guest.protect(here, ...AUTO);
        await failed();
        return this.#goesOnThere(startedAtMs);
      case 'primary dies handing over':
        await guest.protect(here, ...AUTO);
        // Whoever would have answered the order is dead.
        await guest.kemari(here, 'switchover', GUEST_NAME).catch(messageOf);
        await failed();
        return this.#goesOnThere(startedAtMs);
      case 'primary dies noting it':
        await guest.protect(here, ...MANUAL);
        await guest.kemari(here, 'switchover', GUEST_NAME).catch(messageOf);
        await failed();
        await this.#goesOnThere(startedAtMs);
        return this.#cannotBeCreated(here);
      case 'sleeps taking over':
        await guest.protect(here, ...AUTO);
        await isProtected(this.#scene, here);
        await stage.crash(here);
        await failed();
        return this.#goesOnThere(startedAtMs);
      case 'sleeps handed over':
        await guest.protect(here, ...MANUAL);
        await guest.kemari(here, 'switchover', GUEST_NAME);
        await failed();
        return this.#goesOnThere(startedAtMs);
      case 'standby dies':
        await guest.protect(here, ...MANUAL);
        await failed();
        await until('the guest goes on alone', async () => (await guest.info(here)).protection === undefined);
        return goesOn(this.#scene);
      case 'primary sleeps':
      case 'standby sleeps':
        await guest.protect(here, ...MANUAL);
        await failed();
        await goesOn(this.#scene);
        return isProtected(this.#scene, here);
    }
  }

  async #goesOnThere(sinceMs: number): Promise<void> {
    const there = otherHost(this.host);
    await speaks(this.#scene, there, sinceMs);
    this.#turns.push(there);
    await goesOn(this.#scene);
  }

  /** Nobody protects the guest any more. */
  async #beAlone(): Promise<void> {
    const { guest } = this.#scene;
    if ((await guest.info(this.host)).protection !== undefined) await guest.kemari(this.host, 'unprotect', GUEST_NAME);
  }

  /** A host whose guest runs elsewhere does not start it a second time. */
  async #cannotBeCreated(host: HostName): Promise<void> {
    const { guest } = this.#scene;
    const code = await guest.kemari(host, 'create', guest.domainFile).then(
      () => 'created',
      (error: unknown) => asKemariError(error).code,
    );
    if (code !== 'KEMARI_OWNED_ELSEWHERE') throw new Error(`"create" on host ${host}: ${code}`);
  }

  /** kemarid anew; what it starts from now on fails as the trial says. */
  async #restartDaemon(host: HostName, trial: Trial | undefined): Promise<void> {
    const { stage, guest } = this.#scene;
    const listening = async (): Promise<string> => stage.machines[host].run(['ss', '-Htlnp', 'src :8002']);
    for (const [, pid] of (await listening()).matchAll(/pid=(\d+)/g)) sendSignal(Number(pid), 'SIGKILL');
    await until(`no kemarid on host ${host}`, async () => (await listening()) === '');
    await guest.startDaemon(host, trial === undefined ? {} : { fault: `${trial.point}${trial.how}` });
  }

  #failures(host: HostName, { point }: Trial): number {
    return this.#scene.guest.log(host).split(`fault at ${point}\n`).length - 1;
  }
}
