/** A guest whose epochs are taken apart: how large it is, and how many pages it writes over and over. */
export interface AnatomyPoint {
  readonly memoryMib: number;
  readonly vcpus: number;
  /** It is asked for; what epochs carry is some more: a guest that does nothing writes some hundred, too. */
  readonly pages: number;
}

/** What differs between points that are held against each other. */
export type Axis = keyof AnatomyPoint;

export interface AxisLooks {
  /** For people. */
  readonly title: string;
  /** What growth is told for: so much more, and its name. */
  readonly unit: number;
  readonly unitName: string;
}

export const AXES: Readonly<Record<Axis, AxisLooks>> = {
  memoryMib: { title: 'guest memory', unit: 1024, unitName: 'GiB' },
  vcpus: { title: 'vCPUs', unit: 1, unitName: 'vCPU' },
  pages: { title: 'dirty pages', unit: 1000, unitName: '1000 pages' },
};

/** From which each axis departs. */
export const BASE_POINT: AnatomyPoint = { memoryMib: 512, vcpus: 1, pages: 0 };

const STEPS: Readonly<Record<Axis, readonly number[]>> = {
  memoryMib: [512, 1024, 2048, 4096, 8192, 16_384],
  vcpus: [1, 2, 4],
  pages: [0, 1000, 2500, 5000, 10_000, 25_000, 50_000],
};

/** The largest guest that is asked for. */
export const MOST_MEMORY_MIB = 16_384;
export const MOST_VCPUS = 4;

/** A guest, and what it is to write. */
export interface AnatomyGuest {
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly pages: readonly number[];
}

/** How far a sweep goes. */
export interface AnatomyReach {
  /** No guest has more. */
  readonly memoryMib: number;
  readonly vcpus: number;
  /** Instead of the axis' own steps. */
  readonly pages: readonly number[] | undefined;
}

/** Every step of every axis from the base, guest by guest, as far as that. */
export function anatomyGuests(most: AnatomyReach): AnatomyGuest[] {
  const { memoryMib, vcpus, pages } = BASE_POINT;
  const guests: AnatomyGuest[] = [
    { memoryMib, vcpus, pages: most.pages ?? STEPS.pages },
    ...STEPS.memoryMib.filter((size) => size > memoryMib).map((size) => ({ memoryMib: size, vcpus, pages: [pages] })),
    ...STEPS.vcpus.filter((count) => count > vcpus).map((count) => ({ memoryMib, vcpus: count, pages: [pages] })),
  ];
  return guests.filter((guest) => guest.memoryMib <= most.memoryMib && guest.vcpus <= most.vcpus);
}

/** Those that differ from the base in nothing but this, the base first. */
export function alongAxis<Point extends AnatomyPoint>(axis: Axis, points: readonly Point[]): Point[] {
  const others = (Object.keys(AXES) as Axis[]).filter((other) => other !== axis);
  return points
    .filter((point) => others.every((other) => point[other] === BASE_POINT[other]))
    .toSorted((a, b) => a[axis] - b[axis]);
}

/** For people. */
export function guestTitle({ memoryMib, vcpus }: Omit<AnatomyPoint, 'pages'>): string {
  return `a guest of ${memoryMib} MiB and ${vcpus} vCPU${vcpus === 1 ? '' : 's'}`;
}

/** For people. */
export function pointTitle(point: AnatomyPoint): string {
  return `${guestTitle(point)}, ${point.pages} pages`;
}
