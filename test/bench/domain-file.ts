import { writeFile } from 'node:fs/promises';
import { stringify } from 'smol-toml';
import type { MachineType } from '../../src/model/domain-config.js';
import { CLIENT_ADDRESS, NETMASK, PRIVATE_BRIDGE } from '../../src/stage/private-network.js';

export interface DomainFile {
  readonly name: string;
  readonly machine: MachineType;
  readonly vcpus: number;
  readonly kernel: string;
  readonly ramdisk: string;
  /** Paths, in guest order. */
  readonly disks: readonly string[];
  readonly diskQueues: number;
  /** Whether the first disk holds the root file system; else the guest lives in its initial RAM disk. */
  readonly root: boolean;
  readonly address: string;
  /** The guest's services (hack/guest/start). */
  readonly services: string;
}

const MEMORY_MIB = 512;
const DISK_LETTERS = 'abcdefgh';

/** Writes a domain file as a user would. */
export async function writeDomainFile(path: string, file: DomainFile): Promise<void> {
  const disk = file.disks.map(
    (target, index) =>
      `format=raw, vdev=xvd${DISK_LETTERS[index]}, access=rw, queues=${file.diskQueues}, target=${target}`,
  );
  await writeFile(
    path,
    stringify({
      name: file.name,
      machine: file.machine,
      memory: MEMORY_MIB,
      vcpus: file.vcpus,
      kernel: file.kernel,
      ramdisk: file.ramdisk,
      extra: guestCommandLine(file.address, file.root, file.services),
      disk,
      vif: [`bridge=${PRIVATE_BRIDGE}`],
      on_crash: 'destroy',
    }),
  );
}

export function guestCommandLine(address: string, root: boolean, services: string): string {
  const ip = `ip=${address}::${CLIENT_ADDRESS}:${NETMASK}::eth0:off`;
  return `console=ttyS0 quiet net.ifnames=0 ${ip} kemari.run=${services}${root ? ' root=/dev/vda' : ''}`;
}
