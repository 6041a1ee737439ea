import { execa } from 'execa';

/** What e2fsck(8) says of a file system that nobody uses, without touching it. */
export interface FileSystemCheck {
  readonly clean: boolean;
  readonly said: string;
}

/** Checks an image that is one ext4 file system, all of it, whatever its own mark says. */
export async function checkFileSystem(image: string): Promise<FileSystemCheck> {
  const { exitCode, all } = await execa('e2fsck', ['-f', '-n', image], { reject: false, all: true });
  return { clean: exitCode === 0, said: all };
}

/** The contents of a file in such an image, read from outside (debugfs(8)). Errors: when there is no such file. */
export async function readFromImage(image: string, path: string): Promise<string> {
  const { stdout, stderr } = await execa('debugfs', ['-R', `cat ${path}`, image], { stripFinalNewline: false });
  // Its exit code is 0 whatever happens; its version stands on the first line of its errors.
  const failure = stderr.split('\n').slice(1).join('\n').trim();
  if (failure !== '') throw new Error(`debugfs: ${path} in ${image}: ${failure}`);
  return stdout;
}
