import type { DomainInfo } from '../commands/info.js';
import type { DomainSummary } from '../commands/list.js';
import { protectionFacts } from './protection-text.js';
import { standbyFacts } from './standby-text.js';

/** Which of xl's six letters a state shows. A guest whose kemari-dm is silent shows none, as one that is being built. */
const STATE_LETTER: Readonly<Record<DomainSummary['state'], string>> = {
  starting: '',
  standby: '',
  running: 'r',
  paused: 'p',
  'shutting-down': 'r',
  shutdown: 's',
  crashed: 'c',
  dying: 'd',
  unresponsive: '',
};

const STATE_LETTERS = ['r', 'b', 'p', 's', 'c', 'd'];

/** In place of the letters, none of which fits: it is no guest of this host. As wide as they are. */
const STANDBY_TEXT = 'stdby ';
const FAILED_TEXT = 'failed';

const MIB = 1 << 20;
const MS_PER_S = 1_000;

/** xl's `rbpscd` column; a guest whose storage does not answer is blocked, whatever its CPUs still do. */
export function stateLetters(state: DomainSummary['state'], storageSilent = false): string {
  if (state === 'running' && storageSilent) return '-b----';
  return STATE_LETTERS.map((letter) => (STATE_LETTER[state] === letter ? letter : '-')).join('');
}

/** The table of `xl list`, column for column. */
export function listTable(domains: readonly DomainSummary[]): string {
  const lines = domains.map(({ name, domid, memoryBytes, vcpus, state, cpuSeconds, takeoverFailed, storageSilent }) =>
    [
      name.padEnd(40),
      String(domid).padStart(5),
      String(Math.round(memoryBytes / MIB)).padStart(5),
      String(vcpus).padStart(5),
      `    ${state === 'standby' ? (takeoverFailed ? FAILED_TEXT : STANDBY_TEXT) : stateLetters(state, storageSilent)}`,
      ` ${cpuSeconds === undefined ? '-'.padStart(8) : cpuSeconds.toFixed(1).padStart(8)}`,
    ].join(' '),
  );
  return `${['Name                                        ID   Mem VCPUs\tState\tTime(s)', ...lines].join('\n')}\n`;
}

/** Rows under a header, columns as wide as their widest cell; numbers to the right. */
function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column] ?? '').length)),
  );
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].map((text) => `  ${text}`);
}

/** `kemari info` for people. */
export function infoText(info: DomainInfo): string {
  const { config } = info;
  const boot = config.boot.from === 'kernel' ? `${config.boot.kernel} ${config.boot.cmdline}`.trim() : 'first disk';
  const facts: readonly (readonly [string, string | number])[] = [
    ['name', config.name],
    ['domid', info.domid],
    ['uuid', config.uuid],
    ['state', info.state],
    ['created', new Date(info.createdAtMs).toISOString()],
    ['machine', machineText(info)],
    ['memory', `${Math.round(config.memoryBytes / MIB)} MiB`],
    ['vcpus', config.vcpus],
    ['cpu time', `${info.cpuSeconds.toFixed(1)} s`],
    ['boots', boot],
    ['on', `poweroff ${config.onPoweroff}, reboot ${config.onReboot}, crash ${config.onCrash}`],
    ['processes', `kemari-dm ${info.dmPid}${info.accel === 'xen' ? '' : `, QEMU ${info.qemuPid ?? 'none'}`}`],
    ['gate', `${info.gate.open ? 'open' : 'closed'}, ${info.gate.passed} passed, ${info.gate.held} held`],
    ...(info.standby === undefined ? [] : standbyFacts(info.standby)),
    ...(info.protection === undefined ? [] : protectionFacts(info.protection)),
  ];
  const lines = facts.map(([name, value]) => `${name.padEnd(10)} ${value}`);
  if (info.disks.length > 0) lines.push('disks', ...diskTable(info));
  if (info.vifs.length > 0) lines.push('vifs', ...vifTable(info));
  return `${lines.join('\n')}\n`;
}

function machineText({ config, accel, qemuVersion }: DomainInfo): string {
  if (accel === 'xen') return `xen, Xen ${qemuVersion}`;
  return `${config.machine}, ${accel}, QEMU ${qemuVersion}, CPU ${config.cpu}`;
}

function diskTable({ disks }: DomainInfo): string[] {
  const header = [
    'vdev',
    'access',
    'MiB',
    'engine',
    'reads',
    'writes',
    'flushes',
    'errors',
    'in flight',
    'silent s',
    'target',
  ];
  const rows = disks.map((disk) => [
    disk.vdev,
    disk.readOnly ? 'ro' : 'rw',
    Math.round(disk.sizeBytes / MIB),
    disk.engine,
    ...[disk.reads, disk.writes, disk.flushes, disk.errors, disk.inFlight, Math.round(disk.silentMs / MS_PER_S)],
    disk.target,
  ]);
  return table(header, rows);
}

function vifTable({ vifs }: DomainInfo): string[] {
  const header = ['mac', 'tap', 'bridge', 'tx frames', 'tx bytes', 'rx frames', 'rx bytes', 'dropped'];
  const rows = vifs.map((vif) => [
    ...[vif.mac, vif.tap, vif.bridge ?? '-'],
    ...[vif.txFrames, vif.txBytes, vif.rxFrames, vif.rxBytes, vif.dropped],
  ]);
  return table(header, rows);
}
