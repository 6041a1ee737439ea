import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { Ownership } from '../../src/commands/ownership.js';
import { hostId } from '../../src/host/host-id.js';
import type { HostPaths } from '../../src/host/paths.js';
import { configOf, temporaryHost } from '../host/testing.js';

const PEER = { hostName: 'b', addresses: ['10.0.0.2'] };

/** Two hosts, and a domain whose image both reach. */
function twoHosts(t: ExecutionContext) {
  const [a, b] = [temporaryHost(t).host, temporaryHost(t).host] as [HostPaths, HostPaths];
  const image = join(a.root, 'web.img');
  writeFileSync(image, Buffer.alloc(4096));
  const config = configOf('web', `disk = ["${image},raw,xvda,rw"]`);
  const record = (host: HostPaths): string => join(host.stateDirectory, 'domains', `${config.uuid}.json`);
  return { a, b, config, mark: `${image}.kemari`, record, ofA: new Ownership(a), ofB: new Ownership(b) };
}

function refusal(check: () => void): string {
  try {
    check();
    return 'granted';
  } catch (error) {
    return error instanceof KemariError ? error.code : String(error);
  }
}

test('a host keeps its id, two roots are two hosts, and a damaged id is refused', (t) => {
  const { a, b } = twoHosts(t);
  t.is(hostId(a), hostId(a));
  t.not(hostId(a), hostId(b));
  writeFileSync(join(a.stateDirectory, 'host-id'), 'nonsense');
  t.is(
    refusal(() => hostId(a)),
    'KEMARI_STATE_UNUSABLE',
  );
});

test('a domain that was never protected belongs to whoever starts it', (t) => {
  const { ofA, ofB, config } = twoHosts(t);
  for (const host of [ofA, ofB]) {
    t.notThrows(() => {
      host.check(config);
    });
  }
});

test('a host that went down while protected does not start the domain by itself, nor does any other', (t) => {
  const { ofA, ofB, config } = twoHosts(t);
  ofA.protect(config, PEER);
  const message = t.throws(
    () => {
      ofA.check(config);
    },
    { instanceOf: KemariError },
  ).message;
  t.regex(message, /protected by b \(10\.0\.0\.2\).*create --claim/);
  t.is(
    refusal(() => {
      ofB.check(config);
    }),
    'KEMARI_OWNED_ELSEWHERE',
  );
});

test('after a takeover the domain is the other host\u2019s, one generation on', (t) => {
  const { ofA, ofB, config, mark } = twoHosts(t);
  ofA.protect(config, PEER);
  const { nonce } = JSON.parse(readFileSync(mark, 'utf8')) as { nonce: string };
  ofB.tookOver(config, ofA.generation(config.uuid) + 1);
  t.is(ofB.generation(config.uuid), 1);
  t.is((JSON.parse(readFileSync(mark, 'utf8')) as { nonce: string }).nonce, nonce, 'the image is still the same one');
  t.notThrows(() => {
    ofB.check(config);
  });
  t.is(
    refusal(() => {
      ofA.check(config);
    }),
    'KEMARI_OWNED_ELSEWHERE',
  );
});

test('a host that handed a domain over refuses it, whatever became of the mark', (t) => {
  const { ofA, config } = twoHosts(t);
  ofA.protect(config, PEER);
  ofA.gaveAway(config, 1, PEER);
  const message = t.throws(
    () => {
      ofA.check(config);
    },
    { instanceOf: KemariError },
  ).message;
  t.regex(message, /handed over to b/);
});

test('protection that ended in order leaves the domain to its host, and nothing to an ended domain', (t) => {
  const { ofA, ofB, config, mark, record, a } = twoHosts(t);
  ofA.protect(config, PEER);
  ofA.endProtection(config);
  for (const host of [ofA, ofB]) {
    t.notThrows(() => {
      host.check(config);
    });
  }
  ofA.protect(config, PEER);
  ofA.release(config);
  for (const path of [mark, record(a)]) t.throws(() => readFileSync(path), { code: 'ENOENT' });
});

test('the operator may claim a domain: another host then refuses it', (t) => {
  const { ofA, ofB, config } = twoHosts(t);
  ofB.tookOver(config, 4);
  ofA.claim(config);
  t.is(ofA.generation(config.uuid), 5);
  t.notThrows(() => {
    ofA.check(config);
  });
  t.is(
    refusal(() => {
      ofB.check(config);
    }),
    'KEMARI_OWNED_ELSEWHERE',
  );
});

test('a record or mark that is damaged is refused until it is claimed', (t) => {
  const { ofA, config, mark, record, a } = twoHosts(t);
  ofA.tookOver(config, 2);
  for (const path of [record(a), mark]) {
    const whole = readFileSync(path);
    for (const damaged of [Buffer.alloc(0), whole.subarray(0, 20), Buffer.from('{"version":2}'), Buffer.alloc(50)]) {
      writeFileSync(path, damaged);
      t.is(
        refusal(() => {
          ofA.check(config);
        }),
        'KEMARI_OWNERSHIP_UNREADABLE',
      );
    }
    ofA.claim(config);
    t.notThrows(() => {
      ofA.check(config);
    });
  }
});

test('a folder in which no record can be written is an error', (t) => {
  const { ofA, config, a } = twoHosts(t);
  mkdirSync(a.stateDirectory, { recursive: true });
  writeFileSync(join(a.stateDirectory, 'domains'), 'a file where a folder is wanted');
  t.is(
    refusal(() => {
      ofA.tookOver(config, 1);
    }),
    'KEMARI_OWNERSHIP_WRITE',
  );
});
