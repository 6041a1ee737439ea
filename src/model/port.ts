/** kemarid's TCP port: that of Xen's relocation server, which Kemari 2008 used. */
export const DEFAULT_PORT = 8002;
