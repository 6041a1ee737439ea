import type { FenceOutcome } from '../../cluster/contract.js';
import { runFence } from '../../cluster/fence.js';
import type { Security } from '../../wire/contract.js';
import { askProcess } from '../ask-process.js';
import type { StandByOrder } from './orders.js';
import type { StandbyHands } from './standby.js';

/** How long one address may take to say whether the primary's process runs. */
const QUERY_TIMEOUT_MS = 1_000;

/** What a standby can find out about its primary, and do about it. */
export function peerHands(order: StandByOrder): Pick<StandbyHands, 'askPeer' | 'fence'> {
  const { offer, key, fence } = order;
  const { config, instance, addresses, generation } = offer;
  const security: Security = key === null ? { kind: 'plain' } : { kind: 'psk', key: Buffer.from(key, 'hex') };
  const question = { domainUuid: config.uuid, instance, generation };
  const target = { domainName: config.name, domainUuid: config.uuid, hostId: instance.hostId, addresses };
  const noFence: FenceOutcome = { ok: false, text: 'there is no fence command' };
  return {
    askPeer: () => askProcess({ addresses, security, question, timeoutMs: QUERY_TIMEOUT_MS }),
    fence: () => (fence === null ? Promise.resolve(noFence) : runFence(fence, target)),
  };
}
