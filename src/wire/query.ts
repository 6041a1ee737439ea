import { messageOf } from '../base/errors.js';
import { PROTOCOL_VERSION, type PeerAddress, type PeerQuestion, type QueryAnswer, type Security } from './contract.js';
import { exchange } from './control-connection.js';
import type { ControlAnswer, ControlRequest } from './messages.js';

/** `QueryPeer` of the contract. */
export async function queryPeer(options: {
  readonly address: PeerAddress;
  readonly security: Security;
  readonly question: PeerQuestion;
  readonly timeoutMs: number;
}): Promise<QueryAnswer> {
  const request: ControlRequest = { type: 'peer-alive', protocol: PROTOCOL_VERSION, ...options.question };
  try {
    return await exchange(options, request, (answer) => readQueryAnswer(answer as ControlAnswer));
  } catch (error) {
    return { answer: 'unreachable', reason: messageOf(error) };
  }
}

/** What a kemarid says to the question whether a process runs. */
export function readQueryAnswer(answer: ControlAnswer | null): QueryAnswer {
  // Only the two exact words are knowledge; everything else is as good as silence.
  if (answer?.type === 'alive' && (answer.answer === 'runs' || answer.answer === 'gone')) {
    return { answer: answer.answer };
  }
  const reason = answer?.type === 'alive' ? answer.reason : JSON.stringify(answer);
  return { answer: 'unreachable', reason: `it does not know: ${reason}` };
}
