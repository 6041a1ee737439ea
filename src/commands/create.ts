import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KemariError, messageOf } from '../base/errors.js';
import { parseDomainFile } from '../model/domain-file.js';
import type { DomainConfig } from '../model/domain-config.js';
import { checkDomainFiles } from '../host/domain-files.js';
import { launchDeviceModel } from '../host/launch.js';
import { openHost, type DomainReference } from './context.js';
import { Ownership } from './ownership.js';

const DEVICE_MODEL_PROGRAM = fileURLToPath(new URL('../cli/kemari-dm.js', import.meta.url));

/** The program of a domain's kemari-dm; KEMARI_DM names another, for tests. */
export function deviceModelProgram(): string {
  return process.env['KEMARI_DM'] ?? DEVICE_MODEL_PROGRAM;
}

export interface CreateOptions {
  /** Start with the guest's CPUs stopped. */
  readonly paused: boolean;
  /** The operator answers for it that no other host runs the domain, whatever is recorded. */
  readonly claim: boolean;
  readonly onProgress: (text: string) => void;
  /** Ends the creation; what was made is taken down. */
  readonly signal: AbortSignal;
}

/**
 * Starts a domain from its file and waits until its guest runs.
 *
 * Errors: `KEMARI_CONFIG_UNREADABLE`, those of `parseDomainFile`, `checkDomainFiles`, `Ownership.check`, `Registry.register`
 * and `launchDeviceModel`; nothing is left of the domain then.
 */
export async function create(root: string, file: string, options: CreateOptions): Promise<DomainReference> {
  const config = readDomainFile(file);
  checkDomainFiles(config, basename(file));
  const registry = openHost(root);
  const ownership = new Ownership(registry.host);
  if (!options.claim) ownership.check(config);
  options.onProgress('finding a place for the domain');
  const domain = await registry.register(config);
  if (options.claim) ownership.claim(config);
  options.onProgress('starting kemari-dm');
  const flags = options.paused ? ['--paused'] : [];
  await launchDeviceModel(registry, domain, { program: deviceModelProgram(), flags, ...options });
  return { domid: domain.domid, name: domain.name };
}

function readDomainFile(file: string): DomainConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new KemariError('KEMARI_CONFIG_UNREADABLE', `cannot read the domain file ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return parseDomainFile(text, { name: basename(file), folder: dirname(resolve(file)) });
}
