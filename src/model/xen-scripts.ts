/** What a disk's entry in xl's configuration names for kemari to serve it: `script=block-kemari`. */
export const BLOCK_SCRIPT = 'block-kemari';

/** The same of a NIC's entry: `script=vif-kemari`. */
export const NETWORK_SCRIPT = 'vif-kemari';
