import type { QemuBinary } from '../../src/hypervisor/qemu/binary.js';
import type { DomainFile } from './domain-file.js';
import type { Images } from './images.js';
import type { BenchOptions } from './options.js';
import type { Client } from './client.js';
import type { Progress } from '../../src/bench/progress.js';
import type { TestStorage } from './storage.js';
import type { Undo } from '../../src/bench/undo.js';

/** All that the parts of one run share. */
export interface Bench {
  readonly options: BenchOptions;
  readonly images: Images;
  readonly qemu: QemuBinary;
  readonly client: Client;
  readonly storage: TestStorage;
  /** Where this run keeps its disks; gone when it ends. */
  readonly directory: string;
  /** The same for domain files, sockets and kemari's root. */
  readonly stateDirectory: string;
  readonly progress: Progress;
  readonly undo: Undo;
  /** A domain file with what all guests of this run have in common. */
  domainFile(own: Pick<DomainFile, 'name' | 'disks' | 'root' | 'address' | 'services'>): DomainFile;
}
