import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DomainConfig } from '../../src/model/domain-config.js';
import type { DomainInfo } from '../../src/host/contract.js';
import type { Bench } from './bench.js';
import { freeze } from '../../src/bench/freeze.js';
import { checkClock } from './guest-clock.js';
import { guestCommandLine } from './domain-file.js';
import { PINGPONG_IN_GUEST, PINGPONG_PORT } from './network-workloads.js';
import { startOurs, type OurGuest } from './ours.js';
import type { PeerMachine } from '../../src/bench/peer-machine.js';
import { startBareMachine, startPeer, type PeerKind, type PeerOptions } from './peers.js';
import { guestAddress } from '../../src/stage/private-network.js';
import { copyRootImage } from './storage.js';
import type { Variant } from './variant.js';

const BOOT_TIMEOUT_MS = 180_000;
const INSTALL_TIMEOUT_MS = 30_000;
const SERVICES = 'http,iperf';
/** Numbers of guests (their address and MAC): those of the workloads count from 0, those of stop and cont from here. */
const FIRST_STOP_CONT_GUEST = 20;

/** The guest of the workloads, served by kemari (the first) and by each peer, all up and frozen. */
export async function startWorkloadGuests(bench: Bench, kinds: readonly PeerKind[]): Promise<[OurGuest, ...Variant[]]> {
  const { storage, images, directory, stateDirectory, undo } = bench;
  const testDisks = [storage.rawFile, ...(storage.blockDevice === undefined ? [] : [storage.blockDevice])];
  const rootOf = async (number: number): Promise<string> => {
    const copy = join(directory, `root-${number}.img`);
    await copyRootImage(images.rootImage, copy, undo);
    return copy;
  };
  const file = { name: 'bench', disks: [await rootOf(0), ...testDisks], root: true, services: SERVICES };
  const ours = await startOurs(
    stateDirectory,
    bench.domainFile({ ...file, address: guestAddress(0) }),
    bench.client,
    undo,
  );
  await prepare(bench, ours);
  const variants: [OurGuest, ...Variant[]] = [ours];
  for (const [index, kind] of kinds.entries()) {
    const number = index + 1;
    const peer = await startPeer(
      {
        kind,
        ...peerOptions(
          bench,
          ours.info,
          number,
          guestCommandLine(guestAddress(number), true, SERVICES),
          await rootOf(number),
        ),
      },
      undo,
    );
    await prepare(bench, peer);
    variants.push(peer);
  }
  return variants;
}

/** One disk and one NIC, the guest in its initial RAM disk and idle; and the same without either. All up and frozen. */
export async function startStopContGuests(bench: Bench): Promise<{ ours: OurGuest; qemu: Variant; bare: PeerMachine }> {
  const number = FIRST_STOP_CONT_GUEST;
  const { storage, stateDirectory, undo } = bench;
  const file = { name: 'stop-cont', disks: [storage.rawFile], root: false, services: 'http' };
  const ours = await startOurs(
    stateDirectory,
    bench.domainFile({ ...file, address: guestAddress(number) }),
    bench.client,
    undo,
  );
  await upAndFrozen(ours);
  const cmdline = (of: number) => guestCommandLine(guestAddress(of), false, 'http');
  const qemu = await startPeer(
    { kind: 'qemu', ...peerOptions(bench, ours.info, number + 1, cmdline(number + 1), storage.rawFile) },
    undo,
  );
  await upAndFrozen(qemu);
  const bare = await startBareMachine(
    peerOptions(bench, ours.info, number + 2, cmdline(number + 2), storage.rawFile),
    undo,
  );
  freeze(bare.processes);
  return { ours, qemu, bare };
}

/** Kemari's own configuration of the guest with the peer's name, NIC and root disk. */
function peerOptions(
  bench: Bench,
  info: DomainInfo,
  number: number,
  cmdline: string,
  firstDisk: string,
): Omit<PeerOptions, 'kind'> {
  const { boot, disks, vifs } = info.config;
  if (boot.from !== 'kernel') throw new TypeError('the benchmark boots a kernel directly');
  const hexNumber = number.toString(16).padStart(2, '0');
  const config: DomainConfig = {
    ...info.config,
    name: `peer-${number}`,
    boot: { ...boot, cmdline },
    disks: disks.map((disk, index) => (index === 0 ? { ...disk, target: { kind: 'path', path: firstDisk } } : disk)),
    vifs: vifs.map((vif) => ({ ...vif, mac: `00:16:3e:be:9c:${hexNumber}` })),
  };
  return {
    qemu: bench.qemu,
    client: bench.client,
    accel: info.accel,
    config,
    address: guestAddress(number),
    tap: `peer${number}`,
    directory: bench.stateDirectory,
  };
}

async function prepare(bench: Bench, variant: Variant): Promise<void> {
  await variant.shell.waitUntilUp(BOOT_TIMEOUT_MS);
  await variant.shell.install('pingpong', await readFile(bench.images.pingpong), INSTALL_TIMEOUT_MS);
  await variant.shell.mustRun(
    `setsid ${PINGPONG_IN_GUEST} serve ${PINGPONG_PORT} >/dev/null 2>&1 </dev/null &`,
    BOOT_TIMEOUT_MS,
  );
  await checkClock(variant);
  freeze(variant.processes);
  bench.progress.say(`guest of ${variant.name} is up`);
}

async function upAndFrozen(variant: Variant): Promise<void> {
  await variant.shell.waitUntilUp(BOOT_TIMEOUT_MS);
  freeze(variant.processes);
}
