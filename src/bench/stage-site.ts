import { findQemu } from '../hypervisor/qemu/binary.js';
import { StagedGuest, type GuestImage } from '../stage/staged-guest.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import { KEMARI_PROTECTIONS, type LinkShape } from './catalogue.js';
import { ClientRoot } from './client-root.js';
import { COLO_DISKS, ColoGuest } from './colo-guest.js';
import { KemariGuest } from './kemari-guest.js';
import { PLAIN_DISK, PlainGuest } from './plain-guest.js';
import { MACHINE, SERVICES, type GuestShape, type Site } from './site.js';
import { StagedService } from './staged-service.js';
import type { Subject } from './subject.js';
import type { Undo } from './undo.js';

/** Two hosts made of network namespaces of this machine. */
export class StageSite implements Site {
  readonly #stage: TwoHosts;
  readonly #image: GuestImage;
  readonly #shape: GuestShape;
  readonly #undo: Undo;
  #client: ClientRoot | undefined;

  constructor(stage: TwoHosts, image: GuestImage, shape: GuestShape, undo: Undo) {
    this.#stage = stage;
    this.#image = image;
    this.#shape = shape;
    this.#undo = undo;
  }

  async lay({ rate, delayMs }: LinkShape): Promise<void> {
    const { cables } = this.#stage;
    await cables.lengthen(delayMs);
    await cables.shape('sync', rate);
  }

  async boot(protections: readonly string[], say: (text: string) => void): Promise<(protection: string) => Subject> {
    const stage = this.#stage;
    const image = this.#image;
    say('the client unpacks its programs');
    this.#client = await ClientRoot.unpack(image.rootDisk, stage.names.disks, (command) =>
      stage.machines.client.command(command),
    );
    const disks = [PLAIN_DISK, ...Object.values(COLO_DISKS)];
    const otherDisks = await Promise.all(disks.map((disk) => stage.storage.copyImage(disk, image.rootDisk)));
    say('the guests boot');
    const guest = await StagedGuest.boot(stage, {
      image,
      machine: MACHINE,
      services: SERVICES,
      otherDisks,
      ...this.#shape,
    });
    await guest.startDaemon('A');
    const service = await StagedService.start(guest);
    const like = await guest.info('A');
    const kemari = await KemariGuest.adopt(service);
    const isOurs = (protection: string): boolean => Object.hasOwn(KEMARI_PROTECTIONS, protection);
    if (protections.every(isOurs)) return () => kemari;
    const world = { stage, like, qemu: await findQemu(process.env), services: SERVICES };
    const plain = await PlainGuest.boot(world, this.#undo);
    const colo = new ColoGuest(world, this.#undo);
    return (protection) => (isOurs(protection) ? kemari : protection === 'colo' ? colo : plain);
  }

  async client(command: readonly string[], timeoutMs: number): Promise<string> {
    if (this.#client === undefined) throw new TypeError('nothing has booted');
    return this.#client.run(command, timeoutMs);
  }
}
