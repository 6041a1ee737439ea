/**
 * What is said on the virtio serial port between the machine outside and dom0, JSON lines both ways (hack/xen/README.md).
 * A script's output is text: what is no UTF-8 arrives changed.
 */

/** Outside to dom0: a shell script to be run by bash, as root. `id` is the sender's, not in use. */
export interface AgentRequest {
  readonly id: number;
  readonly script: string;
}

/**
 * dom0 to outside: once that it listens; then of each script what it prints (stdout and stderr as they come), and its end,
 * 128 and the signal's number where one ended it.
 */
export type AgentEvent =
  | { readonly type: 'ready' }
  | { readonly type: 'output'; readonly id: number; readonly text: string }
  | { readonly type: 'end'; readonly id: number; readonly status: number };

/** The port's name on both sides. */
export const AGENT_PORT = 'kemari.agent';
