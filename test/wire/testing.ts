import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { HostInstance } from '../../src/model/host-instance.js';
import type { MachineDescription } from '../../src/model/machine-description.js';
import type { Accept, Offer, Security } from '../../src/wire/contract.js';
import { WireServer, type WireHandlers } from '../../src/wire/server.js';
import { configOf } from '../host/testing.js';

export const KEY: Security = { kind: 'psk', key: Buffer.alloc(32, 7) };
export const OTHER_KEY: Security = { kind: 'psk', key: Buffer.alloc(32, 8) };

export const INSTANCE: HostInstance = {
  ...{ hostId: 'host-a', pid: 4711, startTicks: '12345', bootId: 'boot-a', pidNamespace: '4026531836' },
};

export const MACHINE: MachineDescription = {
  ...{ hypervisor: 'qemu', version: '7.2.22', machine: 'pc-q35-7.2', accel: 'tcg', cpuModel: 'max,la57=off' },
  ...{ cpuFeatures: ['sse', 'sse2'], vcpus: 1, memoryBytes: 64 << 20 },
  blocks: [{ name: 'pc.bios', sizeBytes: 262_144, sha256: 'ab'.repeat(32) }],
};

const GEOMETRY: Offer['diskGeometry'][number] = {
  ...{ sizeBytes: 1 << 20, logicalBlockBytes: 512, physicalBlockBytes: 4096, optimalIoBytes: 0 },
  ...{ discardGranularityBytes: 4096, readOnly: false, canFlush: true, canDiscard: true, canWriteZeroes: true },
};

/** An offer as a primary makes it. */
export function offer(change: Partial<Offer> = {}): Offer {
  return {
    ...{ kemariVersion: '0.1.0', purpose: 'protect', createdAtMs: 1, machine: MACHINE, blueprint: null, generation: 0 },
    config: configOf('web', 'disk = ["/srv/web.img,raw,xvda,rw"]\nvif = ["bridge=none"]'),
    bootFiles: { kernel: '00'.repeat(32), ramdisk: null },
    disks: [{ vdev: 'xvda', sizeBytes: 1 << 20, kind: 'file', identity: 'nonce', sample: ['aa', 'bb', 'cc', 'dd'] }],
    diskGeometry: [GEOMETRY],
    instance: INSTANCE,
    addresses: [{ host: '10.0.0.1', port: 8002 }],
    ...{ policy: 'kemari', failover: 'manual', onSilence: 'hold', takeoverTimeoutMs: 500, leaseMs: 300 },
    ...change,
  };
}

export const ACCEPT: Accept = {
  ...{ token: '0123456789abcdef0123456789abcdef', kemariVersion: '0.1.0', hostName: 'b' },
  instance: { ...INSTANCE, hostId: 'host-b' },
  addresses: [{ host: '10.0.0.2', port: 8002 }],
};

/** A kemarid that accepts everything, and what it heard. */
export async function listening(t: ExecutionContext, security: Security, own: Partial<WireHandlers> = {}) {
  const offers: Offer[] = [];
  const links: { readonly kind: string; readonly token: string; readonly fd: number }[] = [];
  const refused: string[] = [];
  const server = await WireServer.listen([{ host: '127.0.0.1', port: 0 }], security, {
    offer: (made) => {
      offers.push(made);
      return Promise.resolve(ACCEPT);
    },
    alive: () => Promise.resolve({ answer: 'runs', reason: '' }),
    link: (kind, token, fd) => {
      links.push({ kind, token, fd });
      return true;
    },
    refused: (_, why) => refused.push(why),
    ...own,
  });
  t.teardown(async () => {
    await server.close();
    for (const { fd } of links) closeSync(fd);
  });
  return { server, offers, links, refused, address: { host: '127.0.0.1', port: server.ports[0] ?? 0 } };
}

/** A stranger's connection. */
export async function knock(t: ExecutionContext, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** All that arrives until the other side closes. */
export async function hearOut(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  // Not once(): an error on the way to the end is no news here.
  if (!socket.closed) await new Promise((resolve) => socket.on('close', resolve));
  return Buffer.concat(parts);
}
