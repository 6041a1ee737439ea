import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const CACHE = resolve(import.meta.dirname, '../../../.cache/xen');

/** What hack/xen-build and hack/xen-image build. */
export const XEN_IMAGE = {
  hypervisor: join(CACHE, 'hypervisor/xen'),
  kernel: join(CACHE, 'image/dom0-vmlinuz'),
  initrd: join(CACHE, 'image/dom0-initrd'),
  disk: join(CACHE, 'image/dom0.img'),
} as const;

/** Why tests with Xen are skipped; undefined when they are run. */
export const XEN_MISSING: string | undefined =
  process.env['KEMARI_XEN'] === undefined
    ? 'KEMARI_XEN: hack/test --xen'
    : Object.values(XEN_IMAGE).every((path) => existsSync(path))
      ? undefined
      : 'Xen: run hack/xen-build and hack/xen-image';
