import type { SplitDevice } from './split-device.js';
import { DEVICE_MODEL_SERVER, SERVER_NODE, XenbusState } from './xenbus.js';
import type { XenStore } from './xenstore.js';

/** All that xenstore has of one device of a guest: what lies below each of its nodes, by path. */
export interface DeviceNodes {
  readonly type: string;
  /** Its number on the bus. */
  readonly device: string;
  readonly frontend: Readonly<Record<string, string>>;
  readonly backend: Readonly<Record<string, string>>;
  readonly toolstack: Readonly<Record<string, string>>;
}

/** Where the device of this type and number has its nodes. */
export function devicePaths(
  domid: number,
  type: string,
  device: string,
): { readonly frontend: string; readonly backend: string; readonly toolstack: string } {
  return {
    frontend: `/local/domain/${domid}/device/${type}/${device}`,
    backend: `/local/domain/0/backend/${type}/${domid}/${device}`,
    toolstack: `/libxl/${domid}/device/${type}/${device}`,
  };
}

/** The number of the device of this kind that xl's configuration calls `name`; undefined where the guest has none. */
export async function findDevice(
  store: XenStore,
  domid: number,
  { type, label }: Pick<SplitDevice<never, never>, 'type' | 'label'>,
  name: string,
): Promise<string | undefined> {
  const folder = `/local/domain/0/backend/${type}/${domid}`;
  for (const device of await store.list(folder)) {
    if ((await store.read(`${folder}/${device}/${label}`)) === name) return device;
  }
  return undefined;
}

export async function readDeviceNodes(
  store: XenStore,
  domid: number,
  type: string,
  device: string,
): Promise<DeviceNodes> {
  const { frontend, backend, toolstack } = devicePaths(domid, type, device);
  return {
    ...{ type, device },
    frontend: await readTree(store, frontend),
    backend: await readTree(store, backend),
    toolstack: await readTree(store, toolstack),
  };
}

/**
 * Gives the domain of this host, which waits for a guest, the device that the guest has: connected, and kemari-dm's to serve. The
 * kernel's back-ends leave alone what is connected when they first see it, so the state comes first.
 */
export async function writeDeviceNodes(store: XenStore, domid: number, nodes: DeviceNodes): Promise<void> {
  const { frontend, backend, toolstack } = devicePaths(domid, nodes.type, nodes.device);
  const state = String(XenbusState.Connected);
  await writeTree(store, frontend, { state, ...nodes.frontend }, [domid, 0]);
  await writeTree(store, backend, { state, [SERVER_NODE]: DEVICE_MODEL_SERVER, ...nodes.backend }, [0, domid]);
  await writeTree(store, toolstack, nodes.toolstack, undefined);
}

async function readTree(store: XenStore, top: string): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  const read = async (path: string): Promise<void> => {
    for (const name of await store.list(`${top}${path}`)) {
      const below = `${path}/${name}`;
      const value = await store.read(`${top}${below}`);
      if (value !== undefined) values[below.slice(1)] = value;
      await read(below);
    }
  };
  await read('');
  return values;
}

async function writeTree(
  store: XenStore,
  top: string,
  values: Readonly<Record<string, string>>,
  access: readonly [owner: number, reader: number] | undefined,
): Promise<void> {
  let isFirst = true;
  for (const [path, value] of Object.entries(values)) {
    await store.write(`${top}/${path}`, value);
    if (isFirst && access !== undefined) {
      await store.permit(top, ...access);
      await store.permit(`${top}/${path}`, ...access);
    }
    isFirst = false;
  }
}
