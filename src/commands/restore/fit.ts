import { KemariError } from '../../base/errors.js';
import { availableMemory } from '../../host/available-memory.js';
import { hashBootFiles } from '../../host/boot-hashes.js';
import type { MachineDescription } from '../../model/machine-description.js';
import { identifyDisks } from '../../storage/identity.js';
import { compareBootFiles, compareDisks, compareMachines, refuseDifferences } from '../../wire/compare.js';
import type { Offer } from '../../wire/contract.js';

/** What a restore process and its machine need beside the guest's memory, with one checkpoint of usual size. */
const OWN_MEMORY_BYTES = 256 << 20;

/**
 * Refuses a guest for whose memory this host has no room: it would be found when pages arrive, or when another guest dies.
 *
 * Errors: `KEMARI_STANDBY_MEMORY`.
 */
export function checkMemory({ config }: Offer, availableBytes = availableMemory()): void {
  const needed = config.memoryBytes + OWN_MEMORY_BYTES;
  if (availableBytes >= needed) return;
  const mib = (bytes: number): number => Math.floor(bytes / (1 << 20));
  throw new KemariError(
    'KEMARI_STANDBY_MEMORY',
    `the standby has ${mib(availableBytes)} MiB of memory left; domain "${config.name}" needs ${mib(needed)} MiB there ` +
      `(${mib(config.memoryBytes)} MiB of guest memory): free some, or start its kemarid with --overcommit`,
    { details: { availableBytes, neededBytes: needed } },
  );
}

/**
 * Looks whether disks and boot files are those of the primary; before a machine is started, as it takes less time.
 *
 * Errors: `KEMARI_HANDSHAKE_MISMATCH`, those of `identifyDisks` and `hashBootFiles`.
 */
export async function checkFiles(offer: Offer): Promise<void> {
  const { config } = offer;
  const [bootFiles, disks] = await Promise.all([hashBootFiles(config), identifyDisks(config.disks)]);
  refuseDifferences(config.name, [
    ...compareBootFiles(offer.bootFiles, bootFiles),
    ...compareDisks(offer.disks, disks),
  ]);
}

/** Errors: `KEMARI_HANDSHAKE_MISMATCH`. */
export function checkMachine(offer: Offer, machine: MachineDescription): void {
  refuseDifferences(offer.config.name, compareMachines(offer.machine, machine));
}
