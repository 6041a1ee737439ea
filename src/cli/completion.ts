import { resolveRoot } from '../commands/context.js';
import { domainNames } from '../commands/list.js';

/** How the completion script that yargs prints calls us: this, then the words of the line, the last one unfinished. */
const COMPLETION_FLAG = '--get-yargs-completions';

/** Verbs whose argument is a domain. */
const DOMAIN_VERBS = [
  'list',
  'info',
  'console',
  'pause',
  'unpause',
  'shutdown',
  'reboot',
  'destroy',
  'takeover',
  'disarm',
  'log',
  'migrate',
  'unprotect',
  'switchover',
  'resume',
];

/** Verbs whose argument is a file: the shell completes that itself. */
const FILE_VERBS = ['create'];

/**
 * The words that may follow on a command line that is being completed; undefined where yargs knows them (verbs and
 * options), or when `argv` asks for no completion.
 */
export async function completions(argv: readonly string[]): Promise<string[] | undefined> {
  if (argv[0] !== COMPLETION_FLAG || argv.at(-1)?.startsWith('-') === true) return undefined;
  const words = argv.slice(1, -1);
  if (words.some((word) => FILE_VERBS.includes(word))) return [];
  if (!words.some((word) => DOMAIN_VERBS.includes(word))) return undefined;
  try {
    return await domainNames(resolveRoot(rootOption(words)));
  } catch {
    // Who cannot look (not root, say) learns why from the verb; a completion prints nothing but words.
    return [];
  }
}

function rootOption(words: readonly string[]): string | undefined {
  const inline = words.find((word) => word.startsWith('--root='))?.slice('--root='.length);
  const place = words.indexOf('--root');
  return inline ?? (place < 0 ? undefined : words[place + 1]);
}
