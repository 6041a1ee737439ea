#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { runDeviceModel } from '../commands/device-model.js';
import { guestProcess } from './guest-process.js';

const termination = guestProcess();
// It has no terminal; the hangup of its creator's is no order to end.
process.on('SIGHUP', () => undefined);

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
    termination,
  }),
);
