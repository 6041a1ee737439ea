import type { ClientEvent } from '../../src/stage/conversation.js';
import { LEDGER_PORT } from '../../src/stage/ledger-line.js';
import type { NestedNode } from './nested-node.js';
import { runInGuest } from './served-devices.js';

const TIMEOUT_MS = 600_000;
/** Of the guest and of the client, on a wire of their own. */
const [GUEST, CLIENT, PREFIX_LENGTH, NETMASK] = ['10.77.0.2', '10.77.0.1', 24, '255.255.255.0'];
const INTERVAL_MS = 200;
/** No message is one that the guest has to write down before it answers. */
const WRITE_EVERY = 1_000_000_000;
const PROGRAM = '/srv/kemari/dist/src/stage/client-program.js';
const FILE = '/tmp/talk';

/** What one connection came to. */
export interface TalkReport {
  readonly answered: number;
  readonly unanswered: number;
  /** What was wrong with an answer, or with the connection. */
  readonly problems: readonly string[];
}

/**
 * One long TCP connection between a guest and a client on a bridge of a node's: the client and the messages of the stage
 * (src/stage/conversation.ts). Every answer counts what the guest has heard, so that none is lost or heard twice unnoticed.
 */
export class GuestTalk {
  readonly #node: NestedNode;

  private constructor(node: NestedNode) {
    this.#node = node;
  }

  /** Has the guest listen on its first NIC, and the client connect from dom0 of `node`, by that bridge. */
  static async start(
    guest: { readonly node: NestedNode; readonly name: string },
    client: { readonly node: NestedNode; readonly bridge: string },
  ): Promise<GuestTalk> {
    const listens = `:${LEDGER_PORT.toString(16).toUpperCase()} 0*:0000 0A`;
    await runInGuest(
      guest.node,
      guest.name,
      `ifconfig eth0 ${GUEST} netmask ${NETMASK} up; nc -l -p ${LEDGER_PORT} -e sh -c ` +
        '"c=0; while read -r k n; do c=\\$((c+1)); echo \\$k \\$n \\$c; done" </dev/null & ' +
        `until cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "${listens}"; do sleep 1; done`,
      'LISTENS',
    );
    const { node, bridge } = client;
    await node.expect(
      [
        `ip address add ${CLIENT}/${PREFIX_LENGTH} dev ${bridge}; mkfifo ${FILE}.in`,
        // The client goes on for as long as someone has its input open.
        `sleep infinity >${FILE}.in 2>/dev/null & echo $! >${FILE}.keeper`,
        `node ${PROGRAM} ${GUEST} ${LEDGER_PORT} ${INTERVAL_MS} ${WRITE_EVERY} <${FILE}.in >${FILE} 2>&1 &`,
        `until grep -q '"connected"' ${FILE}; do grep -q '"closed"' ${FILE} && { cat ${FILE}; exit 1; }; sleep 0.2; done`,
      ].join('\n'),
      TIMEOUT_MS,
    );
    return new GuestTalk(node);
  }

  /** Waits until the guest has answered so many more messages. Throws when the connection has ended, or the time has. */
  async untilAnswered(more: number): Promise<void> {
    const count = `grep -c '"answered"' ${FILE}`;
    await this.#node.expect(
      `wanted=$(($(${count}) + ${more})); until [ $(${count}) -ge $wanted ]; do ` +
        `grep -q '"closed"' ${FILE} && { tail -n 5 ${FILE}; exit 1; }; sleep 0.2; done`,
      TIMEOUT_MS,
    );
  }

  /** Has the client send no more and wait for what is due. */
  async end(): Promise<TalkReport> {
    const said = await this.#node.expect(
      `kill $(cat ${FILE}.keeper); until grep -q '"closed"' ${FILE}; do sleep 0.2; done; cat ${FILE}`,
      TIMEOUT_MS,
    );
    const events = said
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ClientEvent);
    return {
      answered: events.filter(({ event }) => event === 'answered').length,
      unanswered: events.flatMap((one) => (one.event === 'closed' ? [one.unanswered] : []))[0] ?? 0,
      problems: events.flatMap((one) => (one.event === 'violation' || one.event === 'broken' ? [one.text] : [])),
    };
  }
}
