import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, openSync } from 'node:fs';
import { constants } from 'node:os';
import { Duplex } from 'node:stream';
import { readJsonLines, writeJsonLine } from '../../src/base/json-lines.js';
import type { AgentEvent, AgentRequest } from './agent-protocol.js';

/** Runs in dom0, started by its init: scripts that come through a virtio serial port, as many at once as are asked for. */
const path = process.argv[2] ?? '';
// A port can be open only once: both directions are one file.
const fd = openSync(path, 'r+');
const port = Duplex.from({
  readable: createReadStream('', { fd, autoClose: false }),
  writable: createWriteStream('', { fd, autoClose: false }),
});

const say = (event: AgentEvent): void => {
  writeJsonLine(port, event);
};

function run({ id, script }: AgentRequest): void {
  const shell = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      say({ type: 'output', id, text });
    });
  }
  shell.on('error', (error) => {
    say({ type: 'output', id, text: error.message });
    say({ type: 'end', id, status: 127 });
  });
  shell.on('close', (code, signal) => {
    say({ type: 'end', id, status: code ?? 128 + constants.signals[signal ?? 'SIGKILL'] });
  });
}

readJsonLines(
  port,
  (value) => {
    run(value as AgentRequest);
  },
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
say({ type: 'ready' });
