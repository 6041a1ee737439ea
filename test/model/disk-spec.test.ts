import test from 'ava';
import { parseDiskSpec } from '../../src/model/disk-spec.js';
import type { DiskConfig } from '../../src/model/domain-config.js';
import { Problems, type Problem } from '../../src/model/problems.js';
import { vdevIndex } from '../../src/model/vdev.js';

function parse(spec: string): { disk: DiskConfig | undefined; problems: readonly Problem[] } {
  const problems = new Problems();
  const disk = parseDiskSpec(spec, { key: 'disk[0]', folder: '/f', defaultQueues: 1, problems });
  return { disk, problems: problems.toError('x').details['problems'] as Problem[] };
}

const volume: DiskConfig = {
  vdev: 'hda',
  target: { kind: 'path', path: '/dev/vg/guest-volume' },
  readOnly: false,
  discard: true,
  cache: 'none',
  queues: 1,
};

function accepted(title: string, spec: string, expected: Partial<DiskConfig>): void {
  test(`${title}: ${spec}`, (t) => {
    const { disk, problems } = parse(spec);
    t.deepEqual(problems, []);
    t.deepEqual(disk, { ...volume, ...expected });
  });
}

// The manual's own examples: each group is one disk.
accepted('xl-disk-configuration(5)', '/dev/vg/guest-volume,,hda', {});
accepted('xl-disk-configuration(5)', '/dev/vg/guest-volume,raw,hda,rw', {});
accepted('xl-disk-configuration(5)', 'format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume', {});
accepted('xl-disk-configuration(5)', 'raw:/dev/vg/guest-volume,hda,w', {});

const iso = { vdev: 'hdc', target: { kind: 'path', path: '/root/image.iso' }, readOnly: true } as const;
accepted('xl-disk-configuration(5)', '/root/image.iso,,hdc,cdrom', iso);
accepted('xl-disk-configuration(5)', '/root/image.iso,,hdc,,cdrom', iso);
accepted('xl-disk-configuration(5)', '/root/image.iso,raw,hdc,devtype=cdrom', iso);
accepted('xl-disk-configuration(5)', 'format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso', iso);
accepted('xl-disk-configuration(5)', 'raw:/root/image.iso,hdc:cdrom,ro', iso);

accepted('several prefixes are stripped', 'tap:aio:raw:/dev/vg/guest-volume,hda,w', {});
accepted('access r', '/dev/vg/guest-volume,raw,hda,r', { readOnly: true });
accepted('a name before the positions', 'vdev=hda,/dev/vg/guest-volume,raw,ro', { readOnly: true });
accepted('flags between the positions', '/dev/vg/guest-volume,no-discard,raw,direct-io-safe,hda', { discard: false });
accepted('an empty position is a default', '/dev/vg/guest-volume,,hda,,', {});
accepted('our own keys', '/dev/vg/guest-volume,,hda,cache=writeback,queues=4', { cache: 'writeback', queues: 4 });
accepted('backendtype has no effect', '/dev/vg/guest-volume,,hda,backendtype=phy', {});
accepted('target= takes the rest', 'vdev=hda,target=/a,b:c=d, e ', { target: { kind: 'path', path: '/a,b:c=d, e ' } });
accepted('target= after an empty position', ',,hda,target=/x,y', { target: { kind: 'path', path: '/x,y' } });
accepted('a relative path', 'a/b.img,,hda', { target: { kind: 'path', path: '/f/a/b.img' } });
for (const uri of ['nbd://store:10809/vol', 'nbds://store/vol', 'nbd+unix:///vol?socket=/run/nbd.sock']) {
  accepted('an NBD URI in its place', `${uri},raw,hda,rw`, { target: { kind: 'nbd', uri } });
  accepted('an NBD URI by name', `vdev=hda,target=${uri}`, { target: { kind: 'nbd', uri } });
}

function refused(spec: string, key: string, found: RegExp, allowed: RegExp): void {
  test(`refused: ${spec}`, (t) => {
    const { problems } = parse(spec);
    t.is(problems.length, 1);
    t.is(problems[0]!.key, key);
    t.regex(problems[0]!.found, found);
    t.regex(problems[0]!.allowed, allowed);
  });
}

refused('/a,qcow2,xvda', 'disk[0].format', /qcow2/, /^raw$/);
refused('qcow2:/a,xvda,w', 'disk[0].format', /qcow2/, /^raw$/);
refused('/a,raw', 'disk[0].vdev', /nothing/, /xvda/);
refused('/a,raw,xvda1', 'disk[0].vdev', /xvda1/, /partition/);
refused('/a,raw,d0p1', 'disk[0].vdev', /d0p1/, /partition/);
refused('/a,raw,xvda,x', 'disk[0].access', /"x"/, /^w, rw, r, ro|r, ro, w, rw/);
refused('/a,raw,xvda,w,cdrom', 'disk[0].access', /"w"/, /cdrom/);
refused(',hdc:cdrom,r', 'disk[0].target', /nothing/, /empty drive/);
refused('raw,raw,xvda,rw,extra', 'disk[0]', /extra/, /target,format,vdev,access/);
refused('/a,raw,xvda,script=x', 'disk[0].script', /script=x/, /leave it out/);
refused('iscsi:iqn,xvda,w', 'disk[0].script', /iscsi:/, /leave it out/);
refused('/a,raw,xvda,colo', 'disk[0]', /colo/, /leave it out/);
refused('/a,raw,xvda,backendtype=tap', 'disk[0].backendtype', /tap/, /phy, qdisk/);
refused('/a,raw,xvda,backend=dd1', 'disk[0].backend', /dd1/, /Domain-0/);
refused('/a,raw,xvda,devtype=tape', 'disk[0].devtype', /tape/, /disk, cdrom/);
refused('/a,raw,xvda,cache=unsafe', 'disk[0].cache', /unsafe/, /none, writeback/);
refused('/a,raw,xvda,queues=0', 'disk[0].queues', /0/, /1 to 16/);
refused('/a,raw,xvda,queues=17', 'disk[0].queues', /17/, /1 to 16/);
refused('/a,raw,xvda,acces=r', 'disk[0]', /acces=r/, /did you mean "access"/);
refused('/a,raw,xvda,vdev=xvdb', 'disk[0].vdev', /xvdb/, /"xvda" was given before/);
refused('/a,raw,xvda,discard,no-discard', 'disk[0].discard', /discard/, /one/);
refused('foo:/a,raw,xvda', 'disk[0].target', /foo:/, /nbd:/);

test('an empty drive is refused, also when its format is not mentioned', (t) => {
  t.deepEqual(
    parse('vdev=hdc,cdrom').problems.map(({ key }) => key),
    ['disk[0].target'],
  );
});

test('a forgotten format is explained', (t) => {
  t.regex(parse('/a,xvda,w').problems.find(({ key }) => key.endsWith('format'))!.allowed, /raw \(as in/);
});

test('vdev names count as in Xen', (t) => {
  const cases = { xvda: 0, xvdz: 25, xvdaa: 26, xvdba: 52, sda: 0, hdd: 3, vdb: 1, d0: 0, d17: 17, d3p0: 3 };
  for (const [vdev, index] of Object.entries(cases)) t.is(vdevIndex(vdev), index, vdev);
  for (const vdev of ['', 'xvd', 'xvdA', 'xvda1', 'd', 'd1p2', 'd1048576', 'xvdzzzzz', 'fd0', 'xvda ', 'constructor']) {
    t.is(vdevIndex(vdev), undefined, vdev);
  }
});
