#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { runRestore } from '../commands/restore.js';
import { guestProcess } from './guest-process.js';

const termination = guestProcess();

// SIGHUP is the order to take over, as in Kemari 2008. Nobody else sends it: there is no terminal. What is to be done is
// known once it stands by; before, there is nothing to take over, and after, the guest runs here: it is ignored.
const hangup: (() => void)[] = [];
process.on('SIGHUP', () => {
  for (const listener of hangup) listener();
});

const { values } = parseArgs({ options: { root: { type: 'string' }, domid: { type: 'string' } } });
if (values.root === undefined || !/^[1-9]\d*$/.test(values.domid ?? '')) {
  throw new Error('usage: xc_kemari_restore --root DIR --domid N; it is started by kemarid');
}
process.exit(
  await runRestore({
    root: values.root,
    domid: Number(values.domid),
    termination,
    onHangup: (listener) => hangup.push(listener),
  }),
);
