import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { parseDomainFile } from '../../src/model/domain-file.js';
import type { DomainConfig } from '../../src/model/domain-config.js';
import { Registry } from '../../src/host/registry.js';
import { isRunning } from '../../src/host/process-identity.js';
import { readRecord } from '../../src/host/domain-record.js';

/** The program that plays kemari-dm. */
export const FAKE_DM = fileURLToPath(new URL('./fake-device-model.js', import.meta.url));

/** A host of its own; what still runs there after the test is killed. */
export function temporaryHost(t: ExecutionContext): Registry {
  const root = mkdtempSync(join(tmpdir(), 'kemari-test-'));
  const registry = new Registry(root);
  t.teardown(async () => {
    for (const domain of await registry.list()) {
      const { deviceModel } = readRecord(domain.paths);
      if (deviceModel !== undefined && deviceModel.pid !== process.pid && isRunning(deviceModel)) {
        await registry.kill(domain);
      }
    }
    rmSync(root, { recursive: true, force: true });
  });
  return registry;
}

/** A configuration as its file would give it. */
export function configOf(name: string, more = ''): DomainConfig {
  const text = `name = "${name}"\nmemory = 64\nkernel = "/boot/none"\n${more}`;
  return parseDomainFile(text, { name: 'test', folder: '/' });
}
