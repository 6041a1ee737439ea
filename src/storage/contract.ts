import type { DiskConfig } from '../model/domain-config.js';
import type { DeviceEvent, DiskGeometry, DriverPlace, OutputGate } from '../native/addon.js';

/** A disk of a domain that is to be served. */
export interface DiskAttachment {
  /** The domain's UUID: the disk's serial number comes from it, so the guest finds the same one on every host. */
  readonly domainUuid: string;
  /** The disk's place in the configuration, from 0. */
  readonly index: number;
  readonly disk: DiskConfig;
  readonly driver: DriverPlace;
  readonly gate: OutputGate;
  /** A standby's disk, which is opened at the takeover: what the primary's is. undefined: opened at once. */
  readonly deferred?: DiskGeometry | undefined;
  readonly onEvent: (event: DeviceEvent) => void;
}
