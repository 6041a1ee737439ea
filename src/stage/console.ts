import { connect } from 'node:net';
import { KemariError } from '../base/errors.js';

/**
 * Waits until a guest's console, from its domain's start on, has shown this text; returns all it showed.
 *
 * Errors: `KEMARI_STAGE` when it did not in time or the console ended before; those of the socket.
 */
export async function waitForConsole(consoleSocket: string, text: string, timeoutMs: number): Promise<string> {
  const socket = connect(consoleSocket);
  let shown = '';
  try {
    return await new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        reject(new KemariError('KEMARI_STAGE', `the console ${why}; it showed:\n${shown}`));
      };
      const timer = setTimeout(() => {
        fail(`did not show "${text}" within ${timeoutMs} ms`);
      }, timeoutMs);
      socket.on('data', (chunk) => {
        shown += chunk.toString('latin1');
        if (!shown.includes(text)) return;
        clearTimeout(timer);
        resolve(shown);
      });
      socket.on('error', (error) => {
        fail(`broke off: ${error.message}`);
      });
      socket.on('close', () => {
        fail(`ended before "${text}"`);
      });
    });
  } finally {
    socket.destroy();
  }
}
