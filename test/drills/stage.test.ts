import { checkFileSystem, readFromImage } from '../../src/stage/disk-check.js';
import { auditLedger, LEDGER_FILE } from '../../src/stage/ledger-line.js';
import { GUEST_MAC, StagedGuest } from '../../src/stage/staged-guest.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { Witness } from '../../src/stage/witness.js';
import { GUEST_IMAGE } from '../fixtures/guest-image.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

guestTest(`client, witness and storage see what a guest on host A does${missing}`, async (t) => {
  const stage = await TwoHosts.up('test-stage', { owned: true });
  try {
    const witness = await Witness.start(stage.machines.switch);
    const guest = await StagedGuest.boot(stage, { image: GUEST_IMAGE });
    t.true(await guest.runsOn('A'));
    t.false(await guest.runsOn('B'));
    const conversation = await guest.converse();
    await conversation.untilAnswered(200);
    const report = await conversation.stop();
    t.like(report, { unanswered: 0, broken: undefined, violations: [] });
    t.is(report.answered, report.sent);
    t.deepEqual(report.acknowledged, report.writes);
    t.true(report.writes.length >= 200 / 5);
    await guest.shutdown('A');
    t.is(await witness.stop(), 0);
    const turns = witness.turnsOf(GUEST_MAC);
    t.deepEqual(
      turns.map(({ host }) => host),
      ['A'],
    );
    t.true((turns[0]?.frames ?? 0) > report.answered / 2);
    const image = guest.disks[0]!.image;
    await stage.storage.stop();
    const check = await checkFileSystem(image);
    t.true(check.clean, check.said);
    const ledger = await readFromImage(image, LEDGER_FILE);
    const audit = auditLedger(ledger, report.writes, report.acknowledged);
    t.deepEqual(audit, { records: report.writes.length, lost: [], doubled: [], misplaced: [], strange: [] });
  } finally {
    await stage.down();
  }
});
