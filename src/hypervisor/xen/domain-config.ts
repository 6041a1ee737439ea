import { basename } from 'node:path';
import { KemariError } from '../../base/errors.js';
import { DEFAULT_BRIDGE } from '../../model/vif-spec.js';
import { BLOCK_SCRIPT, NETWORK_SCRIPT } from '../../model/xen-scripts.js';
import type { BootConfig, DiskConfig, DomainConfig, VifConfig } from '../../model/domain-config.js';
import type { ToolstackDomain } from './toolstack.js';

/** The part of libxl's build information that a guest is started from. */
interface BuildInfo {
  readonly max_vcpus?: number;
  readonly max_memkb?: number;
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
}

/**
 * A running domain of Xen's as kemari has domains. Its end is always the end here: what follows, a reboot say, is its
 * toolstack's, which made it. Errors: `KEMARI_XEN_GUEST` for what kemari cannot protect.
 */
export function domainConfigOf({ config }: ToolstackDomain): DomainConfig {
  const { name, uuid, type } = config.c_info;
  const refused = (text: string): KemariError => new KemariError('KEMARI_XEN_GUEST', `domain "${name}" ${text}`);
  if (type !== 'pvh') throw refused(`is of type ${type}; PVH guests are protected`);
  const { max_vcpus: vcpus = 1, max_memkb: memoryKib = 0, ...files } = (config['b_info'] ?? {}) as BuildInfo;
  return {
    ...{ name, uuid, machine: 'xen', accel: 'auto', virtio: 'modern', cpu: 'host' },
    ...{ memoryBytes: memoryKib * 1024, vcpus, boot: bootOf(files) },
    disks: (config.disks ?? []).map((disk) => diskOf(disk, refused)),
    vifs: (config.nics ?? []).map((nic) => vifOf(nic, refused)),
    guestAgent: false,
    ...{ onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy' },
  };
}

/** Of libxl_device_disk what a back-end is told. */
interface ToolstackDisk {
  readonly pdev_path?: string;
  readonly vdev?: string;
  readonly script?: string;
  readonly readwrite?: number;
  readonly discard_enable?: string;
}

/** The same of libxl_device_nic. */
interface ToolstackNic {
  readonly mac?: string;
  readonly bridge?: string;
  readonly ifname?: string;
  readonly script?: string;
}

type Refused = (text: string) => KemariError;

function diskOf(disk: ToolstackDisk, refused: Refused): DiskConfig {
  const { pdev_path: target = '', vdev = '', script = '', readwrite, discard_enable: discard } = disk;
  if (basename(script) !== BLOCK_SCRIPT) {
    throw refused(
      `has disk ${vdev}, which kemari does not serve: what it writes would not wait for the standby; have it with ` +
        `"script=${BLOCK_SCRIPT}"`,
    );
  }
  const isExport = /^nbds?(\+\w+)?:/.test(target);
  return {
    ...{ vdev, target: isExport ? { kind: 'nbd', uri: target } : { kind: 'path', path: target } },
    ...{ readOnly: readwrite !== 1, discard: discard !== 'False', cache: 'none', queues: 1 },
  };
}

function vifOf({ mac = '', bridge = DEFAULT_BRIDGE, ifname, script = '' }: ToolstackNic, refused: Refused): VifConfig {
  if (basename(script) !== NETWORK_SCRIPT) {
    throw refused(
      `has vif ${mac}, which kemari does not serve: what it sends would not wait for the standby; have it with ` +
        `"script=${NETWORK_SCRIPT}"`,
    );
  }
  return { mac, bridge, vifname: ifname, queues: 1 };
}

function bootOf({ kernel, ramdisk, cmdline = '' }: BuildInfo): BootConfig {
  return kernel === undefined ? { from: 'disk' } : { from: 'kernel', kernel, ramdisk, cmdline };
}
