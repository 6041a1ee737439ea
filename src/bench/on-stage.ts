import { TwoHosts } from '../stage/two-hosts.js';
import { untilAborted, type Undo } from './undo.js';

/**
 * Builds two hosts for as long as `body` takes, or until aborted: then it resolves at once. Whatever the body deferred is
 * taken down before.
 */
export async function onStage(
  signal: AbortSignal,
  body: (stage: TwoHosts, undo: Undo) => Promise<void>,
): Promise<void> {
  const name = `bench-${process.pid}`;
  try {
    await untilAborted(signal, async (undo) => {
      const stage = await TwoHosts.up(name, { owned: true });
      undo.defer('the two hosts', () => stage.down());
      await body(stage, undo);
    });
  } finally {
    // What was just being made when it was taken down came after what was removed.
    await TwoHosts.down(name);
  }
}
