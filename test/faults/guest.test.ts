import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { endsWell, play } from '../fixtures/two-hosts.js';
import { FaultChain } from './fault-chain.js';
import { SERIES } from './trials.js';

/** Every point that a process can be told to fail at, with a real guest. Long: where KEMARI_LONG asks for it. */

for (const [title, { armed, trials }] of Object.entries(SERIES)) {
  longGuestTest(`${title}, at any of ${trials.length} points: the guest goes on${missing}`, async (t) => {
    await play(t, { migrate: false, memoryMib: 256 }, async (scene) => {
      const chain = new FaultChain(scene);
      await chain.run(armed, trials);
      await endsWell(t, scene, { on: chain.host, turns: chain.turns });
    });
  });
}
