import { GUEST_NAME } from '../../src/stage/staged-guest.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { guestTest, missing } from '../fixtures/guest-test.js';
import { AUTO, endsWell, goesOn, isProtected, play, speaks, until } from '../fixtures/two-hosts.js';
import { HOST_ADDRESSES } from '../../src/stage/topology.js';

const TIMES = process.env['KEMARI_LONG'] === undefined ? 3 : 10;

guestTest(
  `a guest switches over ${TIMES} times, by verb, SIGHUP and SIGTERM, and its client notices nothing but time${missing}`,
  async (t) => {
    await play(t, {}, async (scene) => {
      const { guest, conversation } = scene;
      const turns = ['A'];
      const gaps: number[] = [];
      for (let time = 0; time < TIMES; time += 1) {
        const [from, to] = time % 2 === 0 ? (['A', 'B'] as const) : (['B', 'A'] as const);
        await goesOn(scene);
        const startedAtMs = nowMs();
        // The same handover asked for at either end, and by the end of the process itself.
        if (time % 3 === 0) await guest.kemari(from, 'switchover', GUEST_NAME);
        else if (time % 3 === 1) process.kill((await guest.info(to)).dmPid, 'SIGHUP');
        else process.kill((await guest.info(from)).dmPid, 'SIGTERM');
        await speaks(scene, to, startedAtMs);
        turns.push(to);
        await goesOn(scene);
        gaps.push(conversation.longestGapMs(startedAtMs));
        await until(`nothing of the guest on host ${from}`, async () => !(await guest.runsOn(from)));
        if (time === TIMES - 1) break;
        await guest.protect(to, ...AUTO);
        await isProtected(scene, to);
      }
      t.log(`ms without an answer: ${gaps.map((gap) => gap.toFixed(0)).join(' ')}`);
      await endsWell(t, scene, { on: TIMES % 2 === 0 ? 'A' : 'B', turns: turns.join(' ') });
    });
  },
);

guestTest(`--live moves a guest and leaves nothing behind${missing}`, async (t) => {
  await play(t, { migrate: false }, async (scene) => {
    const { guest, conversation } = scene;
    await goesOn(scene);
    const startedAtMs = nowMs();
    await guest.kemari('A', 'migrate', GUEST_NAME, HOST_ADDRESSES.B.sync, '--live');
    await speaks(scene, 'B', startedAtMs);
    await goesOn(scene);
    t.log(`ms without an answer: ${conversation.longestGapMs(startedAtMs).toFixed(0)}`);
    t.is((await guest.kemari('A', 'list', '--json')).trim(), '[]');
    await endsWell(t, scene, { on: 'B', turns: 'A B' });
  });
});
