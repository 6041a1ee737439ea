import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { GuestTalk } from './guest-talk.js';
import type { NestedNode } from './nested-node.js';
import { BRIDGE, kemari, XenPair } from './xen-pair.js';

const TIMEOUT_MS = 600_000;
/** On emulated processors that others use, too, silence of some seconds says nothing. */
const TAKEOVER_TIMEOUT_MS = 20_000;
const ANSWERS = 40;

/** Where a host's kemari logs what becomes of the guest. */
export const GUEST_LOG = '/var/log/kemari/kept.log';

/** A guest of stock xl on a pair's hosts, `kept`, whose client at the second host never ends its one connection. */
export class ProtectedGuest {
  readonly talk: GuestTalk;

  private constructor(talk: GuestTalk) {
    this.talk = talk;
  }

  /** Created on the first host, not protected yet. */
  static async start({ first, second }: XenPair): Promise<ProtectedGuest> {
    await createGuest(first, {
      ...{ name: 'kept', disks: [`vdev=xvda,${XenPair.entry}`], vifs: [XenPair.vif], cmdline: GuestTalk.cmdline },
    });
    await waitForGuestConsole(first, 'kept', GUEST_READY);
    // The client is where the guest will be: what it hears now comes by the cable, later it cannot.
    const guest = new ProtectedGuest(await GuestTalk.start(second, BRIDGE));
    await guest.goesOn();
    return guest;
  }

  /** By its name, as xl has it; disk and NIC change hands while the guest uses them. Returns what kemari says. */
  async protect(from: NestedNode, to: 1 | 2, flags = ''): Promise<string> {
    const timeout = `--takeover-timeout ${TAKEOVER_TIMEOUT_MS}`;
    const said = await kemari(
      from,
      `migrate kept ${XenPair.address(to)} --kemari --detach ${timeout} ${flags}`,
      TIMEOUT_MS,
    );
    await this.goesOn();
    return said;
  }

  /** Waits until the guest has answered some more. */
  async goesOn(): Promise<void> {
    await this.talk.untilAnswered(ANSWERS);
  }

  /** Of this boot of its kernel. */
  async bootId(): Promise<string> {
    return this.talk.run('cat /proc/sys/kernel/random/boot_id');
  }

  /** Has it power off, and waits until it is gone from this host. */
  async powerOff(host: NestedNode): Promise<void> {
    await this.talk.run('(sleep 1; poweroff) >/dev/null 2>&1 &');
    await untilGone(host);
  }
}

/** Waits until a host has no such guest any more. */
export async function untilGone(host: NestedNode): Promise<void> {
  await host.expect('while xl domid kept >/dev/null 2>&1; do sleep 0.5; done', TIMEOUT_MS);
}

/** What of its devices a host still has: nothing, once it is gone. */
export async function remainsOf(host: NestedNode): Promise<string> {
  return host.expect(
    'for type in vbd vif; do xenstore-ls /local/domain/0/backend/$type 2>/dev/null; done; ls /sys/class/net | grep vif; true',
    TIMEOUT_MS,
  );
}
