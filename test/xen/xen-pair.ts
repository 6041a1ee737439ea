import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { execa } from 'execa';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { NestedNode } from './nested-node.js';

const COMMAND_TIMEOUT_MS = 120_000;
const PREFIX = '10.78.0';

/** How the shared disk is called on both. */
export const SHARED_DISK = '/dev/vdb';
/** On both; the cable between the hosts is on it. */
export const BRIDGE = 'xenbr0';
/** dom0's command for what a failure is explained with. */
const LAST_LOGGED = 'tail -n 60 /var/log/kemari/*.log /tmp/kemarid.log; xl list; xl dmesg | tail -n 15';
const CLI = '/srv/kemari/dist/src/cli';

/**
 * Two nested machines with Xen, a cable between their bridges and a disk that both reach, with the guest's root file system on it, as two hosts of kemari's users have
 * them: each runs a kemarid, with one key.
 */
export class XenPair {
  readonly first: NestedNode;
  readonly second: NestedNode;
  /** The shared disk, as an image file here: it outlives both. */
  readonly image: string;
  readonly #folder: string;

  private constructor(folder: string, image: string, [first, second]: readonly [NestedNode, NestedNode]) {
    this.#folder = folder;
    this.image = image;
    this.first = first;
    this.second = second;
  }

  /** Both are up and their kemarids listen. When that fails nothing is left. */
  static async boot(fence?: string): Promise<XenPair> {
    const folder = mkdtempSync(join(tmpdir(), 'kemari-xen-pair-'));
    const image = join(folder, 'shared.img');
    await execa('cp', ['--sparse=always', GUEST_IMAGE.rootDisk, image]);
    const cable = (end: 'listens' | 'connects') => ({ cable: { path: join(folder, 'cable'), end }, sharedDisk: image });
    const booting = await Promise.allSettled([
      NestedNode.boot('first', cable('listens')),
      NestedNode.boot('second', cable('connects')),
    ]);
    const nodes = booting.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    try {
      for (const one of booting) if (one.status === 'rejected') throw one.reason;
      const pair = new XenPair(folder, image, nodes as [NestedNode, NestedNode]);
      await Promise.all([
        prepare(pair.first, XenPair.address(1), undefined),
        prepare(pair.second, XenPair.address(2), fence),
      ]);
      return pair;
    } catch (error) {
      for (const node of nodes) await node.kill();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  static address(host: 1 | 2): string {
    return `${PREFIX}.${host}`;
  }

  /** What a disk's entry says besides its `vdev`. */
  static readonly entry = `access=rw,script=block-kemari,target=${SHARED_DISK}`;

  /** A NIC's entry: on the bridge of whichever host the guest runs on. */
  static readonly vif = `mac=00:16:3e:4b:45:03,bridge=${BRIDGE},script=vif-kemari`;

  /** Boots a pair, plays on it, and ends it. A failure carries what kemari logged on both. */
  static async play(
    t: ExecutionContext,
    fence: string | undefined,
    body: (pair: XenPair) => Promise<void>,
  ): Promise<void> {
    const pair = await XenPair.boot(fence);
    try {
      await body(pair);
    } catch (error) {
      for (const node of [pair.first, pair.second]) {
        const { output } = await node.run(LAST_LOGGED, COMMAND_TIMEOUT_MS).catch(() => ({ output: 'it is gone' }));
        t.log(`${node.name} logged:\n${output}`);
      }
      throw error;
    } finally {
      await pair.end();
    }
  }

  async end(): Promise<void> {
    await Promise.all([this.first.kill(), this.second.kill()]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Runs `kemari` in dom0; returns what it printed. */
export async function kemari(node: NestedNode, verb: string, timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
  return node.expect(`node ${CLI}/kemari.js ${verb}`, timeoutMs);
}

async function prepare(node: NestedNode, address: string, fence: string | undefined): Promise<void> {
  const flags = `--listen ${address}${fence === undefined ? '' : ` --fence-cmd '${fence}'`}`;
  await node.expect(
    [
      `hostname ${node.name}; ip link add ${BRIDGE} type bridge && ip link set eth0 up master ${BRIDGE}`,
      `ip link set ${BRIDGE} up && ip address add ${address}/24 dev ${BRIDGE}`,
      'cp /srv/kemari/scripts/xen/*-kemari /etc/xen/scripts/',
      // The same on both, as an operator copies it.
      `mkdir -p /etc/kemari && echo ${'5a'.repeat(32)} >/etc/kemari/key && chmod 600 /etc/kemari/key`,
      `setsid node ${CLI}/kemarid.js ${flags} >/tmp/kemarid.log 2>&1 </dev/null & echo $! >/tmp/kemarid.pid`,
      'until grep -q listening /tmp/kemarid.log; do kill -0 $(cat /tmp/kemarid.pid) || { cat /tmp/kemarid.log; exit 1; }; sleep 0.2; done',
    ].join('\n'),
    COMMAND_TIMEOUT_MS,
  );
}
