import type { RingDevice, XenRings } from '../../native/ring.js';

/** Reads a node of one end of a device, by its name below it; undefined where there is none. */
export type ReadNode = (name: string) => Promise<string | undefined>;

/** What split drivers of one kind have to tell each other through xenstore: disks (`vbd`) and NICs (`vif`). */
export interface SplitDevice<Entry, Device extends RingDevice> {
  /** Its folder below `backend` and `device`, and the name of the kernel's driver. */
  readonly type: 'vbd' | 'vif';
  /** What people call it. */
  readonly noun: 'disk' | 'vif';
  /** The back-end's node that tells it from others of its guest, with what xl's configuration calls it. */
  readonly label: string;
  /** What an entry of xl's configuration names to be served by us. */
  readonly script: string;
  /** What xl has written for the back-end. */
  entry(backend: ReadNode): Promise<Entry>;
  /** What the back-end tells the guest's driver. */
  describe(device: Device): Readonly<Record<string, string | number>>;
  /** Where the guest's driver says that its rings are. Errors: `KEMARI_XEN_RING`. */
  rings(frontend: ReadNode): Promise<XenRings>;
}
