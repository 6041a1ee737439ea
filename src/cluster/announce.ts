/** Ethernet, ARP (RFC 826) and RARP (RFC 903) as octets. */
const BROADCAST = Buffer.alloc(6, 0xff);
const ETHERTYPE_ARP = Buffer.of(0x08, 0x06);
const ETHERTYPE_RARP = Buffer.of(0x80, 0x35);
/** Hardware Ethernet, protocol IPv4, lengths 6 and 4. */
const ARP_TYPES = Buffer.of(0x00, 0x01, 0x08, 0x00, 6, 4);
const OPERATION_REQUEST = Buffer.of(0, 1);
const OPERATION_REVERSE_REQUEST = Buffer.of(0, 3);
const NO_ADDRESS = Buffer.alloc(4);
const NO_MAC = Buffer.alloc(6);

/** Ethernet's shortest frame, without its checksum (IEEE 802.3). */
const MIN_FRAME_BYTES = 60;

/**
 * When a guest is announced, in milliseconds after the takeover: at once, and again because frames get lost and the ports of a
 * switch may be learning yet.
 */
export const ANNOUNCE_AT_MS: readonly number[] = [0, 50, 150, 300, 500];

/** What an announcement goes out by: the guest's own port, so that the host's own bridge learns, too. */
export interface AnnouncedNic {
  /** `00:16:3e:...`. */
  readonly mac: string;
  readonly device: { send(frame: Buffer): void; addresses(): readonly Buffer[] };
}

function frame(mac: Buffer, ethertype: Buffer, payload: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat([BROADCAST, mac, ethertype, ...payload]);
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, MIN_FRAME_BYTES - bytes.length))]);
}

function macOctets(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

/** "Who am I?", broadcast from the guest's address: every switch on the way learns where it is. It needs no IP address. */
export function reverseArpFrame(mac: string): Buffer {
  const own = macOctets(mac);
  return frame(own, ETHERTYPE_RARP, [ARP_TYPES, OPERATION_REVERSE_REQUEST, own, NO_ADDRESS, own, NO_ADDRESS]);
}

/** An ARP announcement (RFC 5227 section 3): neighbours refresh what they know of this IPv4 address. */
export function gratuitousArpFrame(mac: string, address: Buffer): Buffer {
  const own = macOctets(mac);
  return frame(own, ETHERTYPE_ARP, [ARP_TYPES, OPERATION_REQUEST, own, address, NO_MAC, address]);
}

/**
 * Tells the network where a guest is now: for each NIC a RARP, and a gratuitous ARP for every IPv4 address that the guest is
 * known to use. Repeats it (ANNOUNCE_AT_MS) until `signal`. A frame that cannot be sent is told to `onFailure`.
 */
export function announce(
  nics: readonly AnnouncedNic[],
  options: { readonly signal: AbortSignal; readonly onFailure: (error: unknown) => void },
): void {
  const once = (): void => {
    if (options.signal.aborted) return;
    try {
      for (const { mac, device } of nics) {
        device.send(reverseArpFrame(mac));
        for (const address of device.addresses()) device.send(gratuitousArpFrame(mac, address));
      }
    } catch (error) {
      options.onFailure(error);
    }
  };
  for (const atMs of ANNOUNCE_AT_MS) {
    if (atMs === 0) once();
    else setTimeout(once, atMs).unref();
  }
}
