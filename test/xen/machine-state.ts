import assert from 'node:assert';

/** Layouts: addon/xen/xen_capture.cc (StateHeader), addon/xen/abi.h. */
const HEADER_BYTES = 24;
const PARAMETER_BYTES = 16;
const PV_HEADER_BYTES = 48;
const VCPU_BYTES = 96;
const EVENT_CHANNEL_BYTES = 24;
const NO_FRAME = 0xffff_ffff_ffff_ffffn;
const STORE_PFN = 1;
const CONSOLE_PFN = 17;

export interface XenMachineState {
  readonly hvmContext: Buffer;
  readonly vcpuCount: number;
  /** Bound ports. */
  readonly eventChannelCount: number;
  /** Guest system time, ns. */
  readonly systemTimeNs: bigint;
  /** Pages that Xen writes also while the guest is paused: event words, time areas, the rings of xenstore and console. */
  readonly writtenByXen: readonly number[];
}

/** Takes the machine state of a checkpoint of Xen's apart. Throws for what is none. */
export function readMachineState(state: Buffer): XenMachineState {
  assert.equal(state.toString('latin1', 0, 4), 'KXEN');
  const [version, parameterCount, hvmBytes, pvBytes] = [4, 8, 12, 16].map((offset) => state.readUInt32LE(offset));
  assert.equal(version, 1);
  const frames = new Set<number>();
  const add = (frame: bigint): void => {
    if (frame !== NO_FRAME) frames.add(Number(frame));
  };
  for (let i = 0; i < parameterCount!; i++) {
    const offset = HEADER_BYTES + i * PARAMETER_BYTES;
    if ([STORE_PFN, CONSOLE_PFN].includes(state.readUInt32LE(offset + 4))) add(state.readBigUInt64LE(offset + 8));
  }
  const hvm = HEADER_BYTES + parameterCount! * PARAMETER_BYTES;
  const pv = state.subarray(hvm + hvmBytes!);
  assert.equal(pv.length, pvBytes);
  const [vcpuCount, eventChannelCount, arrayPages, grantFrames] = [8, 12, 16, 20].map((at) => pv.readUInt32LE(at));
  add(pv.readBigUInt64LE(40));
  let offset = PV_HEADER_BYTES;
  for (let i = 0; i < vcpuCount!; i++, offset += VCPU_BYTES) {
    add(pv.readBigUInt64LE(offset));
    add(pv.readBigUInt64LE(offset + 8));
  }
  offset += eventChannelCount! * EVENT_CHANNEL_BYTES;
  for (let i = 0; i < arrayPages!; i++, offset += 8) add(pv.readBigUInt64LE(offset));
  assert.equal(offset + grantFrames! * 8, pv.length);
  return {
    hvmContext: state.subarray(hvm, hvm + hvmBytes!),
    vcpuCount: vcpuCount!,
    eventChannelCount: eventChannelCount!,
    systemTimeNs: pv.readBigInt64LE(32),
    writtenByXen: [...frames],
  };
}
