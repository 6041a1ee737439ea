import { execa } from 'execa';
import { KemariError } from '../base/errors.js';

export interface ShellResult {
  readonly status: number;
  readonly output: string;
}

/** Asked once more after so long, where a guest that is starting does not answer. */
const PROBE_TIMEOUT_MS = 1_000;

/** Commands run in a guest through its HTTP server (hack/guest/www/cgi-bin/run), by a client on its network. */
export class GuestShell {
  readonly address: string;
  readonly #asClient: (command: readonly string[]) => readonly string[];

  /** `asClient` makes the command line that runs another one where the guest can be reached. */
  constructor(address: string, asClient: (command: readonly string[]) => readonly string[]) {
    this.address = address;
    this.#asClient = asClient;
  }

  /** Runs a shell script as the guest's root. Errors: `KEMARI_STAGE` when the guest does not answer in time. */
  async run(script: string, timeoutMs: number): Promise<ShellResult> {
    const answer = await this.#curl(['--include', '--data-binary', '@-', this.#url('cgi-bin/run')], timeoutMs, script);
    const status = /^X-Exit-Status: (\d+)\r?$/m.exec(answer)?.[1];
    const end = /\r?\n\r?\n/.exec(answer);
    if (status === undefined || end === null) {
      throw new KemariError('KEMARI_STAGE', `the guest answered without a status: ${answer}`);
    }
    return { status: Number(status), output: answer.slice(end.index + end[0].length) };
  }

  /** As `run`, for a script that must succeed; returns what it printed. */
  async mustRun(script: string, timeoutMs: number): Promise<string> {
    const { status, output } = await this.run(script, timeoutMs);
    if (status === 0) return output;
    throw new KemariError('KEMARI_STAGE', `in the guest, status ${status} of: ${script.slice(0, 200)}\n${output}`);
  }

  /** What the guest's HTTP server sends for a path. */
  async fetch(path: string, timeoutMs: number): Promise<string> {
    return this.#curl([this.#url(path)], timeoutMs);
  }

  /** Waits until the guest answers. Errors: `KEMARI_STAGE`. */
  async waitUntilUp(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      try {
        await this.mustRun('true', PROBE_TIMEOUT_MS);
        return;
      } catch (error) {
        if (performance.now() <= deadline) continue;
        throw new KemariError('KEMARI_STAGE', `guest ${this.address} is not up after ${timeoutMs} ms`, {
          cause: error,
        });
      }
    }
  }

  /** Copies a program into the guest's memory as /tmp/NAME. */
  async install(name: string, program: Buffer, timeoutMs: number): Promise<void> {
    const text = program.toString('base64').replace(/.{76}/g, '$&\n');
    await this.mustRun(`base64 -d > /tmp/${name} <<'END'\n${text}\nEND\nchmod +x /tmp/${name}`, timeoutMs);
  }

  #url(path: string): string {
    return `http://${this.address}/${path.replace(/^\//, '')}`;
  }

  async #curl(args: readonly string[], timeoutMs: number, input = ''): Promise<string> {
    const limit = ['--max-time', String(timeoutMs / 1000)];
    const [program = '', ...rest] = this.#asClient(['curl', '--silent', '--show-error', '--fail', ...limit, ...args]);
    try {
      return (await execa(program, rest, { input, stripFinalNewline: false })).stdout;
    } catch (error) {
      throw new KemariError('KEMARI_STAGE', `guest ${this.address} does not answer: ${said(error)}`, { cause: error });
    }
  }
}

/** execa's own message repeats the whole command line. */
function said(error: unknown): string {
  const { stderr, shortMessage } = error as { stderr?: string; shortMessage?: string };
  return stderr?.trim() ?? shortMessage ?? String(error);
}
