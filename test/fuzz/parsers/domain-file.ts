import { KemariError } from '../../../src/base/errors.js';
import { parseDomainFile } from '../../../src/model/domain-file.js';
import { AGREED_KEYS, KNOWN_KEYS } from '../../../src/model/xl-keys.js';
import type { ParserTarget } from '../parser-target.js';

const ALLOWED = ['KEMARI_CONFIG_SYNTAX', 'KEMARI_CONFIG_INVALID'];

/** Domain files: whatever the text, a configuration or one of two errors. */
export const target: ParserTarget = {
  seeds: [
    'name = "guest"\nmemory = 256\nkernel = "/boot/vmlinuz"\nramdisk = "/boot/initrd"\nextra = "console=ttyS0"\n',
    'name = "web"\nmemory = 512\nvcpus = 2\ndisk = ["/srv/web.img,raw,xvda,rw", "nbd://h/x,vdev=vdb,queues=2"]\n',
    'name = "net"\nmemory = 64\nvif = ["mac=00:16:3e:01:02:03,bridge=br0,vifname=v0", "bridge=none"]\nacpi = 1\n',
    'name = "x"\nmemory = 64\n[a.b]\nc = 1979-05-27T07:32:00Z\nd = { e = [1, 2.5, inf] }\n',
  ],
  words: [
    ...KNOWN_KEYS,
    ...Object.keys(AGREED_KEYS),
    '"""',
    "'''",
    ' = ',
    '[[',
    'phy:',
    'target=',
    'format=',
    '0x',
    'nan',
  ],
  tryOne(input) {
    try {
      const config = parseDomainFile(input.toString('utf8'), { name: 'guest.cfg', folder: '/etc/kemari' });
      JSON.stringify(config);
      return `${config.boot.from} ${config.disks.length} ${config.vifs.length}`;
    } catch (error) {
      if (!(error instanceof KemariError) || !ALLOWED.includes(error.code)) throw error;
      // The first problem stands for all.
      return error.message.split('\n', 2).join(' ');
    }
  },
};
