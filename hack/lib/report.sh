# Sourced by the scripts in hack/: how they speak, and how they run a long step.
# A step's output goes to .cache/log/NAME.log; the terminal shows one line for it, and its end when it failed.

# Nothing in hack/ asks anything, and stdin may be closed: the next file opened must not become it.
exec </dev/null

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$repo/.cache
mkdir -p "$cache/log"

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# die TEXT...: one line a word; the first is the failure, the others what to do.
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  shift
  (($# == 0)) || printf '    %s\n' "$@" >&2
  exit 1
}

# step NAME TEXT COMMAND...: runs COMMAND, says TEXT and the time it took, every ten seconds that it still runs.
step() {
  local name=$1 text=$2 log=$cache/log/$1.log start=$SECONDS pid status=0
  shift 2
  say "$text ..."
  # A process group of its own, so that ending this script ends all of the step.
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  running_step=$pid
  while kill -0 "$pid" 2>/dev/null; do
    # Ends with the step, or after ten seconds.
    timeout 10 tail --pid="$pid" --sleep-interval=0.2 -f /dev/null 2>/dev/null || true
    if kill -0 "$pid" 2>/dev/null; then
      say "  still $text: $((SECONDS - start)) s, $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-80)"
    fi
  done
  wait "$pid" || status=$?
  running_step=
  if ((status != 0)); then
    tail -n 40 "$log" >&2
    die "failed after $((SECONDS - start)) s, status $status: $text" "all of its output: $log"
  fi
  say "  done in $((SECONDS - start)) s"
}

running_step=
trap '[[ -z $running_step ]] || kill -- "-$running_step" 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# take_lock NAME: one run at a time of what NAME names; others wait and say so. Held until the script ends.
take_lock() {
  exec {lock_fd}>"$cache/$1.lock"
  flock --nonblock "$lock_fd" && return
  say "another run is at it: waiting for it to end"
  flock "$lock_fd"
}

# content_hash FILE-OR-FOLDER...: one hash of names and contents; what does not exist adds nothing.
content_hash() {
  local present=()
  for path in "$@"; do
    [[ -e $path ]] && present+=("$path")
  done
  find "${present[@]}" -type f -print0 | LC_ALL=C sort -z | xargs -0 --no-run-if-empty sha256sum | sha256sum | cut -c 1-64
}
