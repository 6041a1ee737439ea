import { KemariError } from '../../src/base/errors.js';
import { CLIENT_ADDRESS } from '../../src/stage/private-network.js';
import type { Variant } from './variant.js';
import type { Workload, WorkloadContext } from './workload.js';

/** Payload of a small datagram, in bytes: with its headers a frame of the smallest sizes that matter. */
const SMALL_DATAGRAM_BYTES = 64;

const BITS_PER_GIGABIT = 1e9;
const BITS_PER_BYTE = 8;
const TARGET = { fastest: 0.95 };

export const PINGPONG_PORT = 5300;
export const PINGPONG_IN_GUEST = '/tmp/pingpong';

/** `pingpong` is the program on the host. */
export function networkWorkloads(pingpong: string): Workload[] {
  return [
    {
      name: 'network, TCP stream to the guest',
      unit: 'Gbit/s',
      work: 'Gbit',
      target: TARGET,
      run: (variant, context) => stream(variant, context, []),
    },
    {
      name: 'network, TCP stream from the guest',
      unit: 'Gbit/s',
      work: 'Gbit',
      target: TARGET,
      run: (variant, context) => stream(variant, context, ['--reverse']),
    },
    {
      name: 'network, TCP request and response, asked by the client',
      unit: 'round trips/s',
      work: 'round trip',
      target: TARGET,
      async run(variant, { client, seconds }) {
        return roundTrips(
          await client.run(pingpong, ['ping', variant.shell.address, String(PINGPONG_PORT), String(seconds)]),
        );
      },
    },
    {
      name: 'network, TCP request and response, asked by the guest',
      unit: 'round trips/s',
      work: 'round trip',
      target: TARGET,
      async run(variant, { seconds }) {
        const script = `${PINGPONG_IN_GUEST} ping ${CLIENT_ADDRESS} ${PINGPONG_PORT} ${seconds}`;
        return roundTrips(await variant.shell.mustRun(script, timeoutMs(seconds)));
      },
    },
    {
      name: 'network, small UDP packets to the guest',
      unit: 'received/s',
      work: 'packet',
      target: TARGET,
      run: (variant, context) => datagrams(variant, context, []),
    },
    {
      name: 'network, small UDP packets from the guest',
      unit: 'received/s',
      work: 'packet',
      target: TARGET,
      run: (variant, context) => datagrams(variant, context, ['--reverse']),
    },
  ];
}

interface IperfResult {
  readonly error?: string;
  readonly end: {
    readonly sum_received: { readonly bytes: number; readonly seconds: number };
    readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
  };
}

async function stream(variant: Variant, context: WorkloadContext, flags: readonly string[]) {
  const { end } = await iperf(variant, context, flags);
  return { work: (end.sum_received.bytes * BITS_PER_BYTE) / BITS_PER_GIGABIT, seconds: end.sum_received.seconds };
}

/** As fast as the sender can; what counts is what arrived. */
async function datagrams(variant: Variant, context: WorkloadContext, flags: readonly string[]) {
  const udp = ['--udp', '--bitrate', '0', '--length', String(SMALL_DATAGRAM_BYTES)];
  const { end } = await iperf(variant, context, [...udp, ...flags]);
  return { work: end.sum.packets - end.sum.lost_packets, seconds: end.sum.seconds };
}

async function iperf(variant: Variant, { client, seconds }: WorkloadContext, flags: readonly string[]) {
  // A server of which a client vanished, say by a time-out, ends sometimes.
  await variant.shell.mustRun('pidof iperf3 >/dev/null || iperf3 --server --daemon', timeoutMs(0));
  const args = ['--client', variant.shell.address, '--time', String(seconds), '--json', ...flags];
  const result = JSON.parse(await client.run('iperf3', args, timeoutMs(seconds))) as IperfResult;
  if (result.error !== undefined) throw new KemariError('KEMARI_BENCH_GUEST', `iperf3: ${result.error}`);
  return result;
}

function roundTrips(output: string): { work: number; seconds: number } {
  const [work, seconds] = output.trim().split(' ').map(Number);
  return { work: work ?? Number.NaN, seconds: seconds ?? Number.NaN };
}

/** Beyond the run itself, the programs start and end in an emulated guest. */
function timeoutMs(seconds: number): number {
  return seconds * 1000 + 60_000;
}
