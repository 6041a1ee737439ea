#!/usr/bin/env node
import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runDeviceModel } from '../commands/device-model.js';

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
// It has no terminal; the hangup of its creator's is no order to end.
process.on('SIGHUP', () => undefined);

// QEMU dies with this process (its parent-death signal), so that nothing runs on what can no longer be trusted.
process.on('uncaughtException', (error) => {
  const record = { level: LEVEL_FATAL, time: new Date().toISOString(), event: 'internal-error', msg: error.stack };
  writeSync(STDERR_FD, `${JSON.stringify(record)}\n`);
  process.exit(EXIT_INTERNAL);
});

const { values } = parseArgs({
  options: { root: { type: 'string' }, domid: { type: 'string' }, paused: { type: 'boolean', default: false } },
});
if (values.root === undefined || !/^[1-9]\d*$/.test(values.domid ?? '')) {
  throw new Error('usage: kemari-dm --root DIR --domid N [--paused]; it is started by "kemari create"');
}
process.exit(
  await runDeviceModel({
    root: values.root,
    domid: Number(values.domid),
    paused: values.paused,
    terminate: terminate.signal,
  }),
);
