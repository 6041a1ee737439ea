import { request } from 'node:http';
import { KemariError, messageOf } from '../../src/base/errors.js';

const PROBE_TIMEOUT_MS = 500;

/** Commands run in a guest through its HTTP server (hack/guest/www/cgi-bin/run). */
export class GuestShell {
  readonly address: string;

  constructor(address: string) {
    this.address = address;
  }

  /**
   * Runs a shell script and returns what it printed.
   *
   * Errors: `KEMARI_BENCH_GUEST` when the script fails, or nobody answers in time.
   */
  async run(script: string, timeoutMs: number): Promise<string> {
    const { status, output } = await this.#post(script, timeoutMs);
    if (status !== '0') {
      throw new KemariError(
        'KEMARI_BENCH_GUEST',
        `in the guest, '${script.slice(0, 200)}' ended with ${status}: ${output}`,
      );
    }
    return output;
  }

  /** Waits until the guest answers. Errors: `KEMARI_BENCH_GUEST` after `timeoutMs`. */
  async waitUntilUp(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      try {
        await this.run('true', PROBE_TIMEOUT_MS);
        return;
      } catch (error) {
        if (performance.now() > deadline) {
          throw new KemariError('KEMARI_BENCH_GUEST', `guest ${this.address} is not up after ${timeoutMs} ms`, {
            cause: error,
          });
        }
        // A refused connection fails at once; asking again is the only way to learn of the guest's start.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Copies a program into the guest's memory, where it can be run by its name. */
  async install(name: string, program: Buffer): Promise<void> {
    const text = program.toString('base64').replace(/.{76}/g, '$&\n');
    await this.run(`base64 -d > /tmp/${name} <<'END'\n${text}\nEND\nchmod +x /tmp/${name}`, 30_000);
  }

  #post(script: string, timeoutMs: number): Promise<{ status: string; output: string }> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        reject(new KemariError('KEMARI_BENCH_GUEST', `guest ${this.address}: ${messageOf(error)}`, { cause: error }));
      };
      const body = Buffer.from(script);
      const post = request({
        host: this.address,
        path: '/cgi-bin/run',
        method: 'POST',
        headers: { 'content-length': body.length },
        signal: AbortSignal.timeout(timeoutMs),
        agent: false,
      });
      post.on('error', fail);
      post.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () => {
          const status = response.headers['x-exit-status'];
          resolve({ status: String(status), output: Buffer.concat(chunks).toString() });
        });
      });
      post.end(body);
    });
  }
}
