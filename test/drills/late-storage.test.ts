import { guestTest, missing } from '../fixtures/guest-test.js';
import { endsWell, goesOn, kill, play } from '../fixtures/two-hosts.js';

/**
 * Storage takes a while over each write, and forgets those that it is busy with when their host's connection goes: at the
 * kill it has been sent writes that it never carries out.
 */
const SLOW_AND_FORGETFUL = { filters: ['delay'], parameters: ['delay-write=60ms'] };

guestTest(
  `storage drops what the primary had not brought to an end: the standby brings all of it again${missing}`,
  async (t) => {
    await play(t, { storageFault: SLOW_AND_FORGETFUL }, async (scene) => {
      await goesOn(scene);
      await kill(scene, 'A');
      await goesOn(scene);
      const said = await endsWell(t, scene, { on: 'B', turns: 'A B' });
      t.true(said.acknowledged.length > 10);
    });
  },
);
