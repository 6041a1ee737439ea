import type { GuestNetwork } from '../fixtures/guest.js';

/** The test process's own network (makeNetwork): what it listens on can be reached from there, and the guest's client is there. */
export const OWN_NETWORK: GuestNetwork = {
  // /sys/class/net shows the network of the process that mounted /sys, which is not the test's.
  inside: (command) => ['unshare', '--mount', 'sh', '-c', 'mount -t sysfs sysfs /sys && exec "$@"', 'sh', ...command],
  asClient: ([program = '', ...rest]) => [program, ...rest],
  close: () => Promise.resolve(),
};
