import { join } from 'node:path';
import { execa } from 'execa';
import type { DomainInfo } from '../../src/host/contract.js';
import { request } from '../../src/host/control-client.js';
import { domainPaths, hostPaths } from '../../src/host/paths.js';
import { KemariError } from '../../src/base/errors.js';
import { writeDomainFile, type DomainFile } from './domain-file.js';
import { thaw } from '../../src/bench/freeze.js';
import { GuestShell } from '../../src/stage/guest-shell.js';
import type { Client } from './client.js';
import type { Undo } from '../../src/bench/undo.js';
import type { Variant } from './variant.js';

const KEMARI = join(import.meta.dirname, '../../src/cli/kemari.js');
const COMMAND_TIMEOUT_MS = 120_000;

/** A guest that `kemari create` started, and what kemari says of it. */
export interface OurGuest extends Variant {
  readonly info: DomainInfo;
}

/** Creates a domain in `directory`, as a user does. */
export async function startOurs(directory: string, file: DomainFile, client: Client, undo: Undo): Promise<OurGuest> {
  const root = join(directory, 'root');
  const path = join(directory, `${file.name}.toml`);
  await writeDomainFile(path, file);
  undo.defer(`domain ${file.name}`, () =>
    execa(process.execPath, [KEMARI, '--root', root, 'destroy', file.name], { reject: false }),
  );
  await kemari(root, 'create', path);
  const info = JSON.parse(await kemari(root, 'info', file.name, '--json')) as DomainInfo;
  if (info.qemuPid === undefined) throw new KemariError('KEMARI_BENCH_KEMARI', `domain ${file.name} has no QEMU`);
  const processes = [info.qemuPid, info.dmPid];
  undo.defer(`domain ${file.name}, frozen`, () => {
    thaw(processes);
  });
  const target = { name: file.name, controlSocket: domainPaths(hostPaths(root), info.domid).controlSocket };
  return {
    name: 'kemari',
    info,
    shell: new GuestShell(file.address, (command) => client.enter(command)),
    processes,
    stopCont: (count) => request(target, { verb: 'bench-stop-cont', count }),
    async close() {
      thaw(processes);
      await kemari(root, 'destroy', file.name);
    },
  };
}

async function kemari(root: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa(process.execPath, [KEMARI, '--root', root, ...args], { timeout: COMMAND_TIMEOUT_MS });
  return stdout;
}
