import { Guest } from '../fixtures/guest.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

for (const machine of ['q35', 'pc', 'microvm'] as const) {
  guestTest(
    `a ${machine} guest boots, serves HTTP, writes to its disk and powers off when asked${missing}`,
    async (t) => {
      const guest = await Guest.boot({ machine });
      try {
        t.regex(await guest.fetch('/'), /served by a guest of kemari/);
        const sum = 'dd if=/dev/urandom of=/root/f bs=64k count=64 2>/dev/null; sync; sha256sum </root/f';
        const written = await guest.mustRun(sum);
        t.is(await guest.mustRun('echo 3 >/proc/sys/vm/drop_caches; sha256sum </root/f'), written);
        await guest.kemari('shutdown', guest.name);
        await guest.waitForConsole('kemari-guest: stopped').catch((error: unknown) => {
          // The domain may be gone before we look: its end is what counts.
          t.log(String(error));
        });
      } finally {
        await guest.close();
      }
    },
  );
}
