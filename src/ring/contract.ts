import type { VifConfig } from '../model/domain-config.js';
import type { DeviceEvent, DriverPlace, Nic, OutputGate } from '../native/addon.js';

/** A guest's network interface as the rest of kemari sees it. */
export interface VifRequest {
  readonly domid: number;
  /** Place in the domain's `vif` list, from 0. */
  readonly index: number;
  readonly vif: VifConfig;
  readonly driver: DriverPlace;
  readonly gate: OutputGate;
  /** A standby's NIC: its tap is brought up at the takeover. */
  readonly deferred?: boolean | undefined;
  readonly onEvent: (event: DeviceEvent) => void;
}

/** An attached interface. The tap goes when the device is closed, or its process ends. */
export interface AttachedVif {
  readonly tap: string;
  readonly device: Nic;
}
