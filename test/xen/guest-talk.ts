import { ConversationLog, type ClientEvent, type ConversationReport } from '../../src/stage/conversation-log.js';
import { LEDGER_PORT } from '../../src/stage/ledger-line.js';
import type { NestedNode } from './nested-node.js';

const TIMEOUT_MS = 600_000;
/** Of the guest and of the client, on a wire of their own. */
const [GUEST, CLIENT, PREFIX_LENGTH, NETMASK] = ['10.77.0.2', '10.77.0.1', 24, '255.255.255.0'];
const INTERVAL_MS = 100;
const WRITE_EVERY = 5;
const PROGRAMS = '/srv/kemari/dist';
const FILE = '/tmp/talk';

/**
 * One long connection between a guest's ledger and a client in dom0 of a node, by a bridge: the client's program, the messages and
 * the report are the stage's (src/stage/conversation.ts).
 */
export class GuestTalk {
  readonly #node: NestedNode;

  private constructor(node: NestedNode) {
    this.#node = node;
  }

  /** What such a guest's kernel is told: its root disk has the ledger. */
  static readonly cmdline = `root=/dev/xvda kemari.run=http,ledger ip=${GUEST}::${CLIENT}:${NETMASK}::eth0:off`;

  /** Has a client in dom0 of this node connect with the guest. */
  static async start(node: NestedNode, bridge: string): Promise<GuestTalk> {
    await node.expect(
      [
        `ip address add ${CLIENT}/${PREFIX_LENGTH} dev ${bridge}; mkfifo ${FILE}.in`,
        // The client goes on for as long as someone has its input open.
        `sleep infinity >${FILE}.in 2>/dev/null & echo $! >${FILE}.keeper`,
        `node ${PROGRAMS}/src/stage/client-program.js ${GUEST} ${LEDGER_PORT} ${INTERVAL_MS} ${WRITE_EVERY} <${FILE}.in >${FILE} 2>&1 &`,
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

  /** Runs a script in the guest, past the conversation; returns what it printed. */
  async run(script: string): Promise<string> {
    return this.#node.expect(`node ${PROGRAMS}/test/xen/ask-guest.js ${GUEST} <<'END'\n${script}\nEND`, TIMEOUT_MS);
  }

  /** Has the client send no more and wait for what is due. */
  async end(): Promise<ConversationReport> {
    const said = await this.#node.expect(
      `kill $(cat ${FILE}.keeper); until grep -q '"closed"' ${FILE}; do sleep 0.2; done; cat ${FILE}`,
      TIMEOUT_MS,
    );
    const log = new ConversationLog();
    for (const line of said.trim().split('\n')) log.hear(JSON.parse(line) as ClientEvent);
    return log.report();
  }
}
