import type { PathAnswer, PeerAddress, PeerFinding } from './contract.js';

export interface AskOptions {
  /** Under which the peer's kemarid may be reached. */
  readonly addresses: readonly PeerAddress[];
  /** Asks the kemarid at one address; gives up by itself within `timeoutMs`. */
  readonly ask: (address: PeerAddress) => Promise<PathAnswer>;
  /** Whether an address answers pings; for the report only: a kernel answers them also when all of ours is dead. */
  readonly ping: (host: string) => Promise<boolean>;
}

/**
 * Asks over every path at once whether a process runs. The first authenticated word counts: nobody but its own host can say
 * `runs` or `gone`. Without any, nothing is known.
 */
export async function askPeer({ addresses, ask, ping }: AskOptions): Promise<PeerFinding> {
  const pings = new Map(addresses.map(({ host }) => [host, ping(host)]));
  const paths = addresses.map(async (address) => ({ address, ...(await ask(address)) }));
  try {
    const { address, answer } = await Promise.any(paths.map(onlyKnowledge));
    return {
      answer,
      text: `kemarid at ${address.host} says that the process ${answer === 'runs' ? 'runs' : 'is gone'}`,
    };
  } catch {
    const silent = await Promise.all(
      (await Promise.all(paths)).map(async (path) => {
        const answersPing = (await pings.get(path.address.host)) === true;
        const reason = path.answer === 'unreachable' ? path.reason : '';
        return `${path.address.host} ${answersPing ? 'answers ping' : 'answers no ping'}: ${reason}`;
      }),
    );
    return { answer: 'unreachable', text: silent.join('; ') || 'the peer told no address' };
  }
}

type Asked = { readonly address: PeerAddress } & PathAnswer;

async function onlyKnowledge(path: Promise<Asked>): Promise<{ address: PeerAddress; answer: 'runs' | 'gone' }> {
  const asked = await path;
  if (asked.answer === 'unreachable') throw new Error(asked.reason);
  return { address: asked.address, answer: asked.answer };
}
