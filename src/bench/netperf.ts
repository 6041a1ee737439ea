import { KemariError } from '../base/errors.js';
import { EXTRA_MS, type Workload } from './workload.js';

const MS_PER_S = 1000;

/** netperf(1) asked by the client, timed by it. `units`: of the throughput that it prints. */
function netperf(name: string, title: string, unit: string, test: string): Workload {
  return {
    name,
    title,
    unit,
    async run({ shell, seconds, client }) {
      const command = ['netperf', '-H', shell.address, '-t', test, '-l', String(seconds), '-P', '0'];
      const streams = test === 'TCP_STREAM' || test === 'TCP_MAERTS';
      const own = ['--', '-o', 'THROUGHPUT', ...(streams ? [] : ['-r', '1,1'])];
      const said = await client([...command, ...own], seconds * MS_PER_S + EXTRA_MS);
      const value = Number(said.trim().split('\n').at(-1));
      if (!(value > 0)) throw new KemariError('KEMARI_BENCH_GUEST', `netperf ${test} printed no rate: ${said}`);
      return value;
    },
  };
}

export const NETPERF: readonly Workload[] = [
  netperf('tcp-out', 'netperf, TCP stream out of the guest', 'Mbit/s', 'TCP_MAERTS'),
  netperf('tcp-in', 'netperf, TCP stream into the guest', 'Mbit/s', 'TCP_STREAM'),
  netperf('tcp-rr', 'netperf, TCP request and response', 'round trips/s', 'TCP_RR'),
  netperf('tcp-crr', 'netperf, TCP connect, request, response', 'round trips/s', 'TCP_CRR'),
  netperf('udp-rr', 'netperf, UDP request and response', 'round trips/s', 'UDP_RR'),
];
