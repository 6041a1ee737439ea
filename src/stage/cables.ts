import { KemariError } from '../base/errors.js';
import { addon } from '../native/addon.js';
import type { DelayLine } from '../native/delay-line.js';
import type { Namespace } from './namespace.js';
import { HOST_NAMES, MACHINE_NAMES, type HostName, type MachineName } from './names.js';
import {
  GUEST_BRIDGE,
  HOST_ADDRESSES,
  HOST_DEVICES,
  PREFIX,
  LINK_NAMES,
  LINKS,
  type Link,
  type LinkName,
  type Port,
} from './topology.js';

/** What `cut` takes: a cable, all cables of a host, or both hosts' cables to one network. */
export type CutTarget = LinkName | HostName | 'client' | 'storage';

/** Our table of nftables(8) in each namespace: it has a chain for each device that hears nothing. */
const TABLE = 'kemari-cut';

/** Where a host looks for its neighbours. */
const NEIGHBOUR_DEVICES: readonly string[] = [GUEST_BRIDGE, 'sync', 'store'];

/** The sync link's own interfaces while a longer cable is in their place. */
const SHORT = 'sync-short';
const US_PER_MS = 1000;

/** Of the token bucket (tc-tbf(8)): a queue of so long, a burst of so much. */
const SHAPE_LATENCY = '50ms';
const SHAPE_BURST = '64k';
/** A queue of any cable is empty before the next command has begun. */
const HARDLY_BOUND = '10gbit';

/**
 * The cables of a stage. A cable that is cut is silent and keeps its carrier, as behind a switch that lost its way; one that
 * is unplugged loses its carrier.
 */
export class Cables {
  readonly #namespaces: Readonly<Record<MachineName, Namespace>>;
  #long: DelayLine | undefined;

  constructor(namespaces: Readonly<Record<MachineName, Namespace>>) {
    this.#namespaces = namespaces;
  }

  /**
   * Cuts cables: no frame passes. With `onlyFrom`, what that host sends is lost and what it is sent arrives.
   *
   * Errors: `KEMARI_STAGE`.
   */
  async cut(target: CutTarget, onlyFrom?: HostName): Promise<void> {
    const deaf = linksOf(target).flatMap((link) => deafEnds(link, onlyFrom));
    for (const machine of MACHINE_NAMES) {
      const devices = deaf.filter((port) => port.machine === machine).map(({ device }) => device);
      if (devices.length > 0) await this.#nft(machine, deafen(devices));
    }
  }

  /** All cables of a host are pulled: it loses its carriers. Errors: `KEMARI_STAGE`. */
  async unplug(host: HostName): Promise<void> {
    await this.#namespaces[host].ip(HOST_DEVICES.map((device) => `link set ${device} down`));
  }

  /** Every cable is as new: plugged, whole; shapes stay. Errors: `KEMARI_STAGE`. */
  async heal(): Promise<void> {
    for (const machine of MACHINE_NAMES)
      await this.#nft(machine, `table netdev ${TABLE}\ndelete table netdev ${TABLE}\n`);
    for (const host of HOST_NAMES) {
      // Who was looked for in vain may still be: whoever asks next would be told that there is no way.
      const forget = NEIGHBOUR_DEVICES.map((device) => `neighbour flush dev ${device}`);
      await this.#namespaces[host].ip([...HOST_DEVICES.map((device) => `link set ${device} up`), ...forget]);
    }
  }

  /**
   * Bounds the rate of cables in both directions, with a queue of 50 ms. `undefined` lifts the bound; nothing is lost by it.
   *
   * Errors: `KEMARI_STAGE`, as for a rate that tc(8) does not know.
   */
  async shape(target: CutTarget, rate: string | undefined): Promise<void> {
    for (const { near, far } of linksOf(target)) {
      for (const { machine, device } of [near, far]) {
        const qdisc = (...words: string[]): Promise<string> => this.#namespaces[machine].run(['tc', 'qdisc', ...words]);
        const bound = (to: string): Promise<string> =>
          qdisc('replace', 'dev', device, 'root', 'tbf', 'rate', to, 'burst', SHAPE_BURST, 'latency', SHAPE_LATENCY);
        if (rate !== undefined) {
          await bound(rate);
        } else if ((await qdisc('show', 'dev', device)).includes(' tbf ')) {
          // What waits in the queue leaves before the queue goes.
          await bound(HARDLY_BOUND);
          await qdisc('delete', 'dev', device, 'root');
        }
      }
    }
  }

  /**
   * The sync link is a cable on which each frame is under way so much longer, in both directions; `undefined`: the short one
   * again. Connections over it end, and shapes. The cable lives as long as this process.
   *
   * Errors: `KEMARI_STAGE`, and those of DelayLine.
   */
  async lengthen(delayMs: number | undefined): Promise<void> {
    const was = this.#long;
    this.release();
    if (was !== undefined) await this.#eachHost(() => [`link set ${SHORT} name sync`, 'link set sync up']);
    if (delayMs === undefined) return;
    await this.#eachHost(() => ['link set sync down', `link set sync name ${SHORT}`]);
    const end = (host: HostName) => ({ namespacePath: this.#namespaces[host].path, device: 'sync' });
    this.#long = new addon.DelayLine({ near: end('A'), far: end('B'), delayUs: delayMs * US_PER_MS });
    await this.#eachHost((host) => [`address add ${HOST_ADDRESSES[host].sync}${PREFIX} dev sync`, 'link set sync up']);
  }

  /** Whatever of the cables lives in this process ends. Idempotent. */
  release(): void {
    this.#long?.close();
    this.#long = undefined;
  }

  async #eachHost(lines: (host: HostName) => readonly string[]): Promise<void> {
    for (const host of HOST_NAMES) await this.#namespaces[host].ip(lines(host));
  }

  /** What is wrong with each cable, by what the kernel says: nothing, `unplugged`, `cut`, or from whom frames are lost. */
  async faults(): Promise<Readonly<Record<LinkName, string>>> {
    const deaf = new Map<MachineName, string>();
    const up = new Map<MachineName, string>();
    for (const machine of MACHINE_NAMES) {
      deaf.set(machine, await this.#namespaces[machine].run(['nft', 'list', 'ruleset']));
      up.set(machine, await this.#namespaces[machine].run(['ip', '-oneline', 'link', 'show', 'up']));
    }
    const isDeaf = (port: Port): boolean => deaf.get(port.machine)?.includes(`chain ${port.device} `) ?? false;
    const isUp = (port: Port): boolean => new RegExp(` ${port.device}[@:]`).test(up.get(port.machine) ?? '');
    const faultOf = ({ near, far }: Link): string => {
      if (!isUp(near) || !isUp(far)) return 'unplugged';
      if (isDeaf(near) && isDeaf(far)) return 'cut';
      if (isDeaf(near)) return `nothing arrives at ${near.machine}`;
      return isDeaf(far) ? `nothing arrives at ${far.machine}` : '';
    };
    const entries = LINK_NAMES.map((name) => [name, faultOf(LINKS[name])] as const);
    return Object.fromEntries(entries) as Record<LinkName, string>;
  }

  async #nft(machine: MachineName, rules: string): Promise<void> {
    await this.#namespaces[machine].run(['nft', '--file', '-'], rules);
  }
}

/** Errors: `KEMARI_USAGE` for what names no cable. */
export function parseCutTarget(text: string): CutTarget {
  const known: readonly string[] = [...LINK_NAMES, ...HOST_NAMES, 'client', 'storage'];
  if (known.includes(text)) return text as CutTarget;
  throw new KemariError('KEMARI_USAGE', `no cable of two hosts: "${text}"; expected one of ${known.join(', ')}`);
}

function linksOf(target: CutTarget): Link[] {
  return LINK_NAMES.map((name) => LINKS[name]).filter(
    ({ name, near, far }) =>
      name === target || near.machine === target || far.machine === target || name.startsWith(`${target}-`),
  );
}

/** A frame is lost where it would arrive. */
function deafEnds({ near, far }: Link, onlyFrom: HostName | undefined): Port[] {
  if (onlyFrom === undefined) return [near, far];
  if (near.machine === onlyFrom) return [far];
  return far.machine === onlyFrom ? [near] : [];
}

function deafen(devices: readonly string[]): string {
  const chain = (device: string): string =>
    `  chain ${device} {\n    type filter hook ingress device "${device}" priority 0; policy drop;\n  }`;
  return `table netdev ${TABLE} {\n${devices.map(chain).join('\n')}\n}\n`;
}
