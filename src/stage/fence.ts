import { writeFile } from 'node:fs/promises';
import { fencePath, namespaceName, type HostName, type StageNames } from './names.js';
import { HOST_ADDRESSES, HOST_DEVICES } from './topology.js';

/** Storage is asked to let go of a host for so long. */
const TIMEOUT_S = 5;

/**
 * Writes the command that fences a host: as pulling its plug, and its cables, and having storage forget it. Exit code 0
 * says that it was verified: none of the host's processes is left (so none of its system calls is under way), its links
 * are down, and storage serves no connection of it any more, so that none of its writes can land late.
 *
 * In bash and with few processes, since a takeover waits for it.
 */
export async function writeFence(names: StageNames, host: HostName): Promise<void> {
  const namespace = namespaceName(names, host);
  const storage = namespaceName(names, 'storage');
  const script = `#!/bin/bash
# Fences host ${host} of the two hosts "${names.name}" (hack/two-hosts).
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
namespace=/run/netns/${namespace}
fail() { echo "fence: host ${host}: $*" >&2; exit 1; }
[[ -e $namespace ]] || fail "its network namespace is gone"

# Whether processes of the host are left; all of them are killed. One that was forked meanwhile is found the next time.
kill_all() {
  local entry found=1
  for entry in /proc/[0-9]*; do
    [[ $entry/ns/net -ef $namespace ]] || continue
    kill -KILL "\${entry#/proc/}" 2>/dev/null
    found=0
  done
  return $found
}
# Storage's connections with the host, and the processes that serve them alone (nbd-server has one for each).
filter=(src :10809 and dst ${HOST_ADDRESSES[host].storage})
connections() { ss -N ${storage} -Htn "$@" "\${filter[@]}"; }

SECONDS=0
kill_all
# The last line says which are left up.
up=$(ip -n ${namespace} -oneline -batch - <<'END'
${HOST_DEVICES.map((device) => `link set ${device} down`).join('\n')}
link show up
END
) || fail 'its links cannot be taken down'
case $up in *${HOST_DEVICES.map((device) => `' ${device}@'`).join('*|*')}*) fail "links are still up: $up" ;; esac
while :; do
  found=$(connections) || fail 'storage cannot be asked'
  [[ -n $found ]] || break
  ((SECONDS < ${TIMEOUT_S})) || fail "storage still serves it: $found"
  # Whose they are takes a look at every process: only where there are any.
  found=$(connections --processes)
  while [[ $found =~ \\"nbd-server\\",pid=([0-9]+) ]]; do
    kill -KILL "\${BASH_REMATCH[1]}" 2>/dev/null
    found=\${found/"\${BASH_REMATCH[0]}"/}
  done
  ss -N ${storage} -K "\${filter[@]}" >/dev/null 2>&1
done
while kill_all; do ((SECONDS < ${TIMEOUT_S})) || fail 'its processes do not end'; done
echo "host ${host}: no process, no link, no connection with storage is left"
`;
  await writeFile(fencePath(names, host), script, { mode: 0o755 });
}
