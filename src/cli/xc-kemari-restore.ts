#!/usr/bin/env node
import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runRestore } from '../commands/restore.js';

/** Exit code after a mistake of our own (EX_SOFTWARE of sysexits.h). */
const EXIT_INTERNAL = 70;

/** pino's number for `fatal`. */
const LEVEL_FATAL = 60;

const STDERR_FD = 2;

const terminate = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    terminate.abort(new Error(`${signal} received`));
  });
}

// SIGHUP is the order to take over, as in Kemari 2008. Nobody else sends it: there is no terminal. What is to be done is
// known once it stands by; before, there is nothing to take over, and after, the guest runs here: it is ignored.
const hangup: (() => void)[] = [];
process.on('SIGHUP', () => {
  for (const listener of hangup) listener();
});

// QEMU dies with this process (its parent-death signal), so that nothing runs on what can no longer be trusted.
process.on('uncaughtException', (error) => {
  const record = { level: LEVEL_FATAL, time: new Date().toISOString(), event: 'internal-error', msg: error.stack };
  writeSync(STDERR_FD, `${JSON.stringify(record)}\n`);
  process.exit(EXIT_INTERNAL);
});

const { values } = parseArgs({ options: { root: { type: 'string' }, domid: { type: 'string' } } });
if (values.root === undefined || !/^[1-9]\d*$/.test(values.domid ?? '')) {
  throw new Error('usage: xc_kemari_restore --root DIR --domid N; it is started by kemarid');
}
process.exit(
  await runRestore({
    root: values.root,
    domid: Number(values.domid),
    terminate: terminate.signal,
    onHangup: (listener) => hangup.push(listener),
  }),
);
