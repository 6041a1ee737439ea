import { once } from 'node:events';
import { TwoHosts } from '../stage/two-hosts.js';
import { Undo } from './undo.js';

/**
 * Builds two hosts for as long as `body` takes, or until aborted: then it resolves at once. Whatever the body deferred is
 * taken down before.
 */
export async function onStage(
  signal: AbortSignal,
  body: (stage: TwoHosts, undo: Undo) => Promise<void>,
): Promise<void> {
  const undo = new Undo();
  const name = `bench-${process.pid}`;
  const run = build(name, undo, body);
  try {
    await Promise.race([run, once(signal, 'abort')]);
  } finally {
    await undo.run();
    // Without its stage it ends, and soon.
    await run.catch(() => undefined);
    await undo.run();
    // What was just being made when it was taken down came after what was removed.
    await TwoHosts.down(name);
  }
}

async function build(name: string, undo: Undo, body: (stage: TwoHosts, undo: Undo) => Promise<void>): Promise<void> {
  const stage = await TwoHosts.up(name, { owned: true });
  undo.defer('the two hosts', () => stage.down());
  await body(stage, undo);
}
