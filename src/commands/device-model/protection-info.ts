import type { PrimaryState } from '../../engine/primary-state.js';
import { regime } from '../../engine/pacing.js';
import type { ProtectionInfo } from '../../host/contract.js';
import { policyText } from '../../model/protection.js';
import type { LinkSenderStats } from '../../native/link.js';
import type { Current } from './domain-protection.js';
import { EpochWindow } from './epoch-window.js';

const US_PER_MS = 1000;

/** What `info` and `top` show of a protection. `nowMs`: performance.now(). */
export function protectionInfo(current: Current, nowMs: number): ProtectionInfo {
  const { request, standby, protection, gate, sinceMs, copying } = current;
  const state = protection?.state;
  const core = state !== undefined && 'core' in state ? state.core : undefined;
  const link = protection?.link.stats();
  const { held, released } = gate.counters();
  return {
    role: 'primary',
    state: shownState(state),
    policy: policyText(request.options),
    failover: request.options.failover,
    onSilence: request.options.onSilence,
    host: request.host,
    port: request.port,
    standby: standby?.name ?? '',
    encrypted: standby?.encrypted ?? request.keyFile !== null,
    ...{ sinceMs, copying },
    epoch: (core?.epoch ?? 0n).toString(),
    ackedEpoch: (core?.ackedEpoch ?? 0n).toString(),
    ...(protection?.epochs.window ?? new EpochWindow(nowMs)).read(nowMs),
    held: held - released,
    lagMs: protection?.epochs.clock.lagMs(nowMs) ?? 0,
    unackedBytes: core?.unacked.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0,
    linkBytesPerSecond: link?.bytesPerSecond ?? 0,
    sentBytes: link?.sentBytes ?? 0,
    rawBytes: link?.rawBytes ?? 0,
    sentPages: pagesOf(link),
    linkCpuMs: (link?.cpuUs ?? 0) / US_PER_MS,
    ackUs: link?.ackUs.p50 ?? 0,
    leaseValid: link?.leaseValid ?? false,
    lostGuestMs: protection?.epochs.lostGuestMs ?? 0,
    regime: core === undefined ? 'at-once' : regime(core.pacing, nowMs),
  };
}

/** Also those that the standby had already, so that nothing of them was sent. */
function pagesOf(link: LinkSenderStats | undefined): number {
  return link === undefined ? 0 : link.pagesSent + link.pages.unchanged;
}

function shownState(state: PrimaryState | undefined): ProtectionInfo['state'] {
  switch (state?.phase) {
    case 'copying':
    case 'silent':
    case 'handing-over':
      return state.phase;
    case 'protected':
      return state.core.ackedEpoch === 0n ? 'protecting' : 'protected';
    case 'disarming':
      return 'ending';
    case undefined:
      return 'connecting';
    default:
      return 'ending';
  }
}
