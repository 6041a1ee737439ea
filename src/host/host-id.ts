import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { KemariError, messageOf } from '../base/errors.js';
import { assert } from '../base/assert.js';
import type { HostInstance } from '../model/host-instance.js';
import { writeDurably } from '../base/durable-file.js';
import type { HostPaths } from './paths.js';
import { identifyProcess, isRunning } from './process-identity.js';

const UUID = /^[0-9a-f-]{36}$/;

/**
 * Who this host is: random, made at first use and kept for good. Two roots on one machine are two hosts.
 *
 * Errors: `KEMARI_STATE_UNUSABLE`. A file that is damaged is no other host: it is refused, not replaced.
 */
export function hostId(host: HostPaths): string {
  const path = join(host.stateDirectory, 'host-id');
  try {
    const known = readFileSync(path, 'utf8').trim();
    if (UUID.test(known)) return known;
    throw new Error('it holds no UUID; remove it if this host owns no protected domain');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(path, error);
  }
  const made = randomUUID();
  try {
    writeDurably(path, `${made}\n`);
  } catch (error) {
    throw unusable(path, error);
  }
  return made;
}

function unusable(path: string, cause: unknown): KemariError {
  return new KemariError('KEMARI_STATE_UNUSABLE', `cannot use ${path}: ${messageOf(cause)}`, { cause });
}

/**
 * Refuses a peer that calls itself by this host's id and is another machine: what one of them says of its processes would be
 * taken for the other's. Errors: `KEMARI_HOST_ID_CLONED`.
 */
export function refuseClone(host: HostPaths, peer: HostInstance): void {
  const own = thisInstance(host);
  if (peer.hostId !== own.hostId || (peer.bootId === own.bootId && peer.pidNamespace === own.pidNamespace)) return;
  throw new KemariError(
    'KEMARI_HOST_ID_CLONED',
    `the primary and the standby are two hosts with one id, ${own.hostId}: ${join(host.stateDirectory, 'host-id')} was copied ` +
      'from one to the other, with an image of the whole host perhaps; remove that file on the one that owns no protected ' +
      'domain, and start its kemarid anew',
  );
}

function pidNamespace(): string {
  return String(statSync('/proc/self/ns/pid').ino);
}

/** A process of this host, by default this one; undefined when it does not run (any more). Errors: those of `hostId`. */
export function instanceOf(host: HostPaths, pid: number): HostInstance | undefined {
  const identity = identifyProcess(pid);
  return identity && { hostId: hostId(host), ...identity, pidNamespace: pidNamespace() };
}

/** This process. Errors: those of `hostId`. */
export function thisInstance(host: HostPaths): HostInstance {
  const instance = instanceOf(host, process.pid);
  assert(instance !== undefined, 'a process sees itself in /proc');
  return instance;
}

/**
 * Whether a process still runs, as its own host knows. `unknown` where it is another host's, or of a process namespace
 * that is not ours: not to be found is then no proof.
 */
export function isAlive(
  host: HostPaths,
  instance: HostInstance,
): { readonly answer: 'runs' | 'gone' | 'unknown'; readonly reason: string } {
  const own = thisInstance(host);
  if (instance.hostId !== own.hostId) {
    return { answer: 'unknown', reason: `this is host ${own.hostId}, asked was host ${instance.hostId}` };
  }
  // After a reboot nothing of before runs, whatever the namespace was called.
  if (instance.bootId !== own.bootId) return { answer: 'gone', reason: 'the host was restarted' };
  if (instance.pidNamespace !== own.pidNamespace) {
    return { answer: 'unknown', reason: 'kemarid and that process are in different process namespaces' };
  }
  return isRunning(instance)
    ? { answer: 'runs', reason: `process ${instance.pid} runs` }
    : { answer: 'gone', reason: `process ${instance.pid} has ended` };
}
