import test from 'ava';
import fc from 'fast-check';
import { KemariError } from '../../src/base/errors.js';
import type { DomainConfig } from '../../src/model/domain-config.js';
import { DOMAIN_FILE_LIMIT_BYTES, parseDomainFile } from '../../src/model/domain-file.js';
import type { Problem } from '../../src/model/problems.js';
import { AGREED_KEYS, KNOWN_KEYS, UNSUPPORTED_KEYS } from '../../src/model/xl-keys.js';

const source = { name: 'guest.cfg', folder: '/etc/kemari' };

function parse(text: string): DomainConfig {
  return parseDomainFile(text, source);
}

/** A file that is right but for what is appended. */
function guest(more: string): string {
  return `name = "guest"\nmemory = 256\nkernel = "/boot/vmlinuz"\n${more}\n`;
}

function errorOf(text: string): KemariError {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof KemariError) return error;
    throw error;
  }
  throw new Error('parsed without an error');
}

function problemsOf(text: string): readonly Problem[] {
  const error = errorOf(text);
  if (error.code !== 'KEMARI_CONFIG_INVALID') throw error;
  return error.details['problems'] as Problem[];
}

test('a plain xl.cfg of a guest with its own kernel is a domain file', (t) => {
  const config = parse(`
# /etc/xen/web.cfg
name    = 'web'
uuid    = 'C0FFEE00-1111-2222-3333-444455556666'
type    = 'pvh'
kernel  = '/boot/vmlinuz-6.1.0-30-amd64'
ramdisk = '/boot/initrd.img-6.1.0-30-amd64'
root    = '/dev/xvda ro'
extra   = 'console=ttyS0 quiet'
vcpus   = '2'
memory  = '1024'
maxmem  = 1024
disk    = [
            '/dev/vg0/web-disk,raw,xvda,rw',
            'phy:/dev/vg0/web-swap,xvdb,w',
          ]
vif     = [ 'mac=00:16:3E:5A:A4:E7, bridge=xenbr1', '' ]
on_poweroff = 'destroy'
on_reboot   = 'restart'
on_crash    = 'restart'
`);
  t.deepEqual(config, {
    name: 'web',
    uuid: 'c0ffee00-1111-2222-3333-444455556666',
    machine: 'q35',
    accel: 'auto',
    cpu: 'default',
    memoryBytes: 1024 * 1024 * 1024,
    vcpus: 2,
    boot: {
      from: 'kernel',
      kernel: '/boot/vmlinuz-6.1.0-30-amd64',
      ramdisk: '/boot/initrd.img-6.1.0-30-amd64',
      cmdline: 'root=/dev/xvda ro console=ttyS0 quiet',
    },
    disks: [
      {
        vdev: 'xvda',
        target: { kind: 'path', path: '/dev/vg0/web-disk' },
        readOnly: false,
        discard: true,
        cache: 'none',
        queues: 1,
      },
      {
        vdev: 'xvdb',
        target: { kind: 'path', path: '/dev/vg0/web-swap' },
        readOnly: false,
        discard: true,
        cache: 'none',
        queues: 1,
      },
    ],
    vifs: [
      { mac: '00:16:3e:5a:a4:e7', bridge: 'xenbr1', vifname: undefined, queues: 1 },
      { ...config.vifs[1]!, bridge: 'xenbr0', vifname: undefined, queues: 1 },
    ],
    guestAgent: false,
    virtio: 'legacy',
    onPoweroff: 'destroy',
    onReboot: 'restart',
    onCrash: 'restart',
  });
  t.regex(config.vifs[1]!.mac, /^00:16:3e:[0-7]/);
});

test('a plain xl.cfg of an HVM guest that boots its disk is a domain file', (t) => {
  const config = parse(`
builder = "hvm"
name = "debian-hvm"
memory = 2048
vcpus = 4
boot = "c"
acpi = 1
apic = 1
pae = true
vnc = 0
sdl = 0
serial = 'pty'
localtime = 0
device_model_version = "qemu-xen"
disk = ['file:/srv/debian.img,hda,w', '/srv/cd.iso,,hdc,cdrom']
vif = ['type=ioemu, model=virtio-net, bridge=xenbr0']
`);
  t.deepEqual(config.boot, { from: 'disk' });
  t.deepEqual(
    config.disks.map(({ vdev, readOnly }) => [vdev, readOnly]),
    [
      ['hda', false],
      ['hdc', true],
    ],
  );
  t.is(config.onPoweroff, 'destroy');
  t.is(config.onReboot, 'restart');
  t.is(config.onCrash, 'destroy');
});

test('relative paths start at the folder of the domain file', (t) => {
  const config = parse(`name="g"\nmemory=64\nkernel="vmlinuz"\nramdisk="../initrd"\ndisk=['g.img,,xvda']`);
  t.like(config.boot, { kernel: '/etc/kemari/vmlinuz', ramdisk: '/etc/initrd' });
  t.deepEqual(config.disks[0]!.target, { kind: 'path', path: '/etc/kemari/g.img' });
});

test('disks are in the order of their vdev, whatever the order of the list', (t) => {
  const { disks } = parse(guest(`disk=['/c,,xvdc','/aa,,xvdaa','/a,,sda','/d,,d3']`));
  t.deepEqual(
    disks.map(({ vdev }) => vdev),
    ['sda', 'xvdc', 'd3', 'xvdaa'],
  );
});

test('MAC and UUID that the file leaves out are stable for the name, and differ between names and NICs', (t) => {
  const one = parse(guest(`vif=['','']`));
  const again = parse(guest(`vif=['','']\nvcpus=2`));
  const other = parse(guest(`vif=['','']`).replace('"guest"', '"other"'));
  t.deepEqual(one.vifs, again.vifs);
  t.is(one.uuid, again.uuid);
  t.not(one.uuid, other.uuid);
  t.is(new Set([...one.vifs, ...other.vifs].map(({ mac }) => mac)).size, 4);
  t.regex(one.uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('disk_queues and vif_queues hold where a spec names none', (t) => {
  const config = parse(
    guest(`disk_queues=4\nvif_queues=2\ndisk=['/a,,xvda','/b,,xvdb,queues=1']\nvif=['','queues=8']`),
  );
  t.deepEqual(
    config.disks.map(({ queues }) => queues),
    [4, 1],
  );
  t.deepEqual(
    config.vifs.map(({ queues }) => queues),
    [2, 8],
  );
});

test('an unknown key is refused with the key that was meant', (t) => {
  const [problem] = problemsOf(guest('vcpu = 2'));
  t.is(problem!.key, 'vcpu');
  t.is(problem!.found, '2');
  t.regex(problem!.allowed, /did you mean "vcpus"/);
  t.regex(problemsOf(guest('memroy = 2'))[0]!.allowed, /did you mean "memory"/);
  t.notRegex(problemsOf(guest('zzzzzzzzzz = 2'))[0]!.allowed, /did you mean/);
});

test('a key of xl that kemari does not support is refused as such', (t) => {
  t.regex(problemsOf(guest('bootloader = "pygrub"'))[0]!.allowed, /does not support this key of xl/);
  t.regex(problemsOf(guest('vnc = 1'))[0]!.allowed, /^0 \(there is no display\)/);
});

test('no key is in two of the tables', (t) => {
  const keys = [...KNOWN_KEYS, ...Object.keys(AGREED_KEYS), ...UNSUPPORTED_KEYS];
  t.is(new Set(keys).size, keys.length);
});

test('all problems of a file are told at once', (t) => {
  const keys = problemsOf(
    `name="a b"\nmemory=1\nvcpus=0\nmachine="i440fx"\ndisk=['/x,qcow2,xvda1,x']\nvif=['mac=1,ip=2']`,
  );
  t.deepEqual(keys.map(({ key }) => key).sort(), [
    'disk[0].access',
    'disk[0].format',
    'disk[0].vdev',
    'machine',
    'memory',
    'name',
    'vcpus',
    'vif[0].ip',
    'vif[0].mac',
  ]);
});

test('the message names key, what was found and what is allowed', (t) => {
  const { message } = errorOf(guest('machine = "i440fx"'));
  t.is(message, 'guest.cfg has one problem:\n  machine: found "i440fx"; allowed: "q35", "pc", "microvm"');
});

const WRONG: readonly (readonly [title: string, text: string, key: string])[] = [
  ['no name', `memory=64\nkernel="/k"`, 'name'],
  ['a name of digits, which would be a domid', guest('').replace('"guest"', '"17"'), 'name'],
  ['a name that leaves the log folder', guest('').replace('"guest"', '"../x"'), 'name'],
  ['no memory', `name="g"\nkernel="/k"`, 'memory'],
  ['memory beyond 64 bits', guest('').replace('256', '99999999999999999999'), 'memory'],
  ['memory beyond 53 bits', guest('').replace('256', '9007199254740993'), 'memory'],
  ['memory as a fraction', guest('').replace('256', '256.5'), 'memory'],
  ['memory as a date', guest('').replace('256', '2020-01-01'), 'memory'],
  ['maxmem above memory (no ballooning)', guest('maxmem=512'), 'maxmem'],
  ['a microvm that is to boot its disk', `name="a"\nmemory=64\nmachine="microvm"\ndisk=['/x,raw,xvda,w']`, 'machine'],
  ['maxvcpus above vcpus', guest('maxvcpus=4'), 'maxvcpus'],
  ['a PV guest', guest('type="pv"'), 'type'],
  ['a PVH guest without a kernel', `name="g"\nmemory=64\ntype="pvh"\ndisk=['/a,,xvda']`, 'type'],
  ['nothing to boot', `name="g"\nmemory=64`, 'kernel'],
  ['extra without a kernel', `name="g"\nmemory=64\nextra="x"\ndisk=['/a,,xvda']`, 'extra'],
  ['cmdline beside extra', guest('cmdline="a"\nextra="b"'), 'cmdline'],
  ['a command line that Linux would cut', guest(`cmdline="${'x'.repeat(2048)}"`), 'cmdline'],
  ['a line end in the command line', guest('cmdline="a\\nb"'), 'cmdline'],
  ['boot from the network', guest('boot="n"'), 'boot'],
  ['an action kemari does not know', guest('on_crash="coredump-restart"'), 'on_crash'],
  ['a UUID of the wrong length', guest('uuid="1234"'), 'uuid'],
  ['QEMU options behind the CPU', guest('cpu="max -incoming x"'), 'cpu'],
  ['disk as a string', guest(`disk='/a,,xvda'`), 'disk'],
  ['a number in the list of disks', guest('disk=[1]'), 'disk[0]'],
  ['two disks in one place', guest(`disk=['/a,,xvda','/b,,hda']`), 'disk[1].vdev'],
  ['two NICs with one MAC', guest(`vif=['mac=00:16:3e:00:00:01','mac=00:16:3E:00:00:01']`), 'vif[1].mac'],
  ['two NICs with one name', guest(`vif=['vifname=t','vifname=t']`), 'vif[1].vifname'],
  ['seventeen disks', guest(`disk=[${Array.from({ length: 17 }, (_, i) => `'/a,,d${i}'`).join()}]`), 'disk'],
  ['a section', guest('[section]\nx=1'), 'section'],
];

for (const [title, text, key] of WRONG) {
  test(`refused: ${title}`, (t) => {
    t.deepEqual(
      problemsOf(text).map((problem) => problem.key),
      [key],
    );
  });
}

test('what is no TOML is refused with its line', (t) => {
  const error = errorOf('name = "a"\nmemory = = 5\n');
  t.is(error.code, 'KEMARI_CONFIG_SYNTAX');
  t.is(error.details['line'], 2);
  t.is(errorOf('name = "a"\nname = "b"').code, 'KEMARI_CONFIG_SYNTAX');
  t.is(errorOf('#'.repeat(DOMAIN_FILE_LIMIT_BYTES + 1)).code, 'KEMARI_CONFIG_SYNTAX');
  t.is(errorOf(`x = ${'['.repeat(100_000)}`).code, 'KEMARI_CONFIG_SYNTAX');
});

/** Text that comes near a domain file: known keys with values of every kind. */
const nearFile = fc
  .array(
    fc.tuple(
      fc.constantFrom<string>(...KNOWN_KEYS, ...Object.keys(AGREED_KEYS), '__proto__', 'constructor', 'x'),
      fc.oneof(
        fc.string().map((s) => JSON.stringify(s)),
        fc.array(fc.oneof(specText(), fc.string())).map((list) => JSON.stringify(list)),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
        fc.constantFrom('1.5', 'nan', 'true', '2020-01-01', '{a=1}', '[[]]', '"destroy"', '"q35"', '64', '"/k"'),
      ),
    ),
    { maxLength: 12 },
  )
  .map((pairs) => [...new Map(pairs)].map(([key, value]) => `${key} = ${value}`).join('\n'));

function specText(): fc.Arbitrary<string> {
  const word = fc.constantFrom(
    ...[
      'target=',
      'format=',
      'raw',
      'vdev=',
      'xvda',
      'd0p0',
      'access=',
      'rw',
      'cdrom',
      'devtype=',
      'queues=',
      '1',
      '99',
    ],
    ...[
      'phy:',
      'nbd://h/e',
      'nbd:',
      'aio:',
      'x:',
      ':',
      ',',
      ' ',
      '=',
      'mac=',
      '00:16:3e:00:00:01',
      'bridge=',
      'none',
      'ip=',
    ],
  );
  return fc.array(word, { maxLength: 12 }).map((words) => words.join(''));
}

test('whatever the text, the answer is a configuration or a KemariError', (t) => {
  const answers = (text: string): boolean => {
    try {
      const config = parse(text);
      return config.name !== '' && Number.isSafeInteger(config.memoryBytes);
    } catch (error) {
      return error instanceof KemariError && error.code.startsWith('KEMARI_CONFIG_');
    }
  };
  fc.assert(fc.property(fc.oneof(nearFile, fc.string(), fc.string({ unit: 'binary' })), answers), { numRuns: 3000 });
  fc.assert(
    fc.property(nearFile, (text) => answers(guest(text))),
    { numRuns: 2000 },
  );
  t.pass();
});
