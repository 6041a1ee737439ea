import test from 'ava';
import { APPLICATIONS } from '../../src/bench/applications.js';
import type { WorkloadContext } from '../../src/bench/workload.js';
import { GuestShell } from '../../src/stage/guest-shell.js';

const pgbench = APPLICATIONS.find(({ name }) => name === 'pgbench')!;

/** A guest, and a client whose pgbench prints this; notes what both were asked for. */
function contextThatSays(text: string) {
  const asked: string[] = [];
  const shell = new GuestShell('10.77.0.3', () => []);
  shell.mustRun = (script) => {
    asked.push(`guest: ${script}`);
    return Promise.resolve('');
  };
  const client: WorkloadContext['client'] = (command) => {
    asked.push(`client: ${command.join(' ')}`);
    return Promise.resolve(text);
  };
  return { asked, context: { shell, client, seconds: 3, counted: (work) => work() } satisfies WorkloadContext };
}

const SAID = `pgbench (15.13 (Debian 15.13-0+deb12u1))
number of transactions actually processed: 30
latency average = 399.720 ms
initial connection time = 57.342 ms
tps = 10.006998 (without initial connection time)
`;

test('pgbench asks a database that runs, and its rate is that of transactions', async (t) => {
  const { asked, context } = contextThatSays(SAID);
  t.is(await pgbench.run(context), 10.006998);
  const [start, ask] = asked;
  t.regex(start!, /^guest: .*su postgres -c '.*pg_ctl .*--wait .*start'/);
  t.regex(ask!, /^client: .*pgbench --host 10\.77\.0\.3 .*--time 3 postgres$/);
});

test('a pgbench that measured nothing is no rate', async (t) => {
  const { context } = contextThatSays('number of transactions actually processed: 0\ntps = 0.000000\n');
  await t.throwsAsync(pgbench.run(context), { code: 'KEMARI_BENCH_GUEST', message: /actually processed: 0/ });
});
