/** A process that stays until it is killed. */
setInterval(() => undefined, 1 << 30);
