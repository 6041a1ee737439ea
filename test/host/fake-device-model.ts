/**
 * Plays kemari-dm without QEMU, for tests of everything around it. FAKE_DM says how it behaves:
 * `ok` (default), `fail` (reports an error), `die` (ends without a word), `hang` (answers no request),
 * `deaf` (its guest ignores the power button), `slow` (never gets ready; ends on SIGTERM), `stubborn` (as slow, but ignores SIGTERM).
 */
import { createServer, type Socket } from 'node:net';
import { spawn } from 'node:child_process';
import { KemariError } from '../../src/base/errors.js';
import type { DomainState } from '../../src/model/domain-state.js';
import type { DomainInfo } from '../../src/host/contract.js';
import { ControlServer, type ControlHandlers } from '../../src/host/control-server.js';
import { readRecord } from '../../src/host/domain-record.js';
import { Startup } from '../../src/host/startup.js';

const argv = process.argv.slice(2);
const startup = Startup.adopt({ root: argv[1]!, domid: Number(argv[3]) });
const behaviour = process.env['FAKE_DM'] ?? 'ok';
let state: DomainState = argv.includes('--paused') ? 'paused' : 'running';

function info(): DomainInfo {
  return {
    domid: startup.domain.domid,
    config: startup.config,
    state,
    createdAtMs: readRecord(startup.domain.paths).createdAtMs,
    dmPid: process.pid,
    qemuPid: undefined,
    qemuVersion: '0.0.0',
    accel: 'tcg',
    cpuSeconds: 1.5,
    gate: { open: true, passed: 3, held: 0 },
    disks: [],
    vifs: [],
    protection: undefined,
  };
}

function set(next: DomainState): null {
  state = next;
  return null;
}

const consoles = new Set<Socket>();
const consoleServer = createServer((socket) => {
  consoles.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => consoles.delete(socket));
  socket.write('recent output\r\n');
  // The guest echoes to everyone who is connected; Ctrl-D ends it.
  socket.on('data', (data) => {
    for (const each of consoles) each.write(data);
    if (data.includes(4)) void end();
  });
});

async function end(): Promise<void> {
  await server.close();
  consoleServer.close();
  for (const socket of consoles) socket.end();
  startup.removeDomain();
  process.exit(0);
}

const never = new Promise<never>(() => undefined);
const handlers: ControlHandlers = {
  protect: ({ request: { host, port } }, watcher) => {
    const atMs = Date.now();
    watcher.emit({ atMs, type: 'connecting', text: `asking ${host}:${port} to stand by` });
    if (host !== 'stays') return { outcome: 'ended', text: 'played' };
    watcher.emit({ atMs, type: 'state', state: 'protected' });
    return never;
  },
  'protection-events': () => ({ outcome: 'ended', text: 'played' }),
  unprotect: () => null,
  switchover: () => null,
  'resume-unprotected': () => null,
  info: () => (behaviour === 'hang' ? never : info()),
  pause: () => set('paused'),
  unpause: () => set('running'),
  shutdown: () => {
    if (behaviour !== 'deaf') setTimeout(() => void end(), 300);
    return set('shutting-down');
  },
  reboot: () => {
    throw new KemariError('KEMARI_TESTING', 'the guest has no power button', { details: { answer: 42 } });
  },
  destroy: () => {
    if (behaviour === 'hang') return never;
    setImmediate(() => void end());
    return set('dying');
  },
  takeover: () => null,
  disarm: () => null,
  trace: () => [],
  'bench-stop-cont': () => [],
};

console.log(`fake kemari-dm of ${startup.config.name}: ${behaviour}`);
if (behaviour === 'die') process.exit(7);
if (behaviour === 'fail') {
  startup.progress('starting the fake');
  startup.fail(new KemariError('KEMARI_TESTING', 'there is no QEMU', { details: { answer: 42 } }));
  process.exit(1);
}
const qemu = spawn('sleep', ['1000'], { stdio: 'ignore', detached: true });
startup.recordQemu(qemu.pid!);
process.on('SIGTERM', () => {
  if (behaviour === 'stubborn') return;
  qemu.kill('SIGKILL');
  startup.removeDomain();
  process.exit(1);
});
process.on('exit', () => qemu.kill('SIGKILL'));
startup.progress('starting the fake');
const server = await ControlServer.listen(startup.domain.paths.controlSocket, handlers);
consoleServer.listen(startup.domain.paths.consoleSocket);
if (behaviour !== 'slow' && behaviour !== 'stubborn') startup.ready();
