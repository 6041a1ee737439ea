/** What `kemari bench --hosts` runs on a host beside kemari's guest. */
export { runPeer as benchPeer } from '../bench/hosts/peer-runner.js';
