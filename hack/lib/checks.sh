# Sourced by hack/setup: what this host must have before anything is installed or built.
# Each check adds a line to `problems`, so that all of them are named at once.

node_minimum=20.19.0
kernel_minimum=6.7
disk_space_cold_mib=3000 # node_modules, build, guest image and its packages
disk_space_warm_mib=300
problems=()

version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]; }

check_system() {
  local id=unknown version=unknown
  if [[ -r /etc/os-release ]]; then
    id=$(. /etc/os-release && echo "${ID:-unknown}")
    version=$(. /etc/os-release && echo "${VERSION_ID:-unknown}")
  fi
  [[ $(id -u) == 0 ]] || problems+=("root: this is user $(id -un); run it as root (taps, packages and QEMU's user need it)")
  [[ $(uname -m) == x86_64 ]] || problems+=("x86_64: this machine is $(uname -m)")
  if [[ $id != debian || ! $version =~ ^1[23]$ ]]; then
    problems+=("Debian 12 or 13: this is $id $version; elsewhere install these packages' equivalents yourself and
      set KEMARI_NO_PACKAGES=1: ${all_packages[*]}")
  fi
}

# PAGEMAP_SCAN (linux/fs.h) on an empty range of our own pagemap: 0 where the kernel has it, ENOTTY where not.
# UFFDIO_API (linux/userfaultfd.h) asks for UFFD_FEATURE_WP_ASYNC (bit 15). Perl, since every Debian has perl-base.
probe_kernel() {
  perl -e '
    open(my $map, "<", "/proc/self/pagemap") or die "open /proc/self/pagemap: $!\n";
    my $scan = pack("Q12", 96, (0) x 11);
    defined ioctl($map, 0xc0606610, $scan) or print "PAGEMAP_SCAN: ioctl on /proc/self/pagemap: $!\n";
    my $fd = syscall(323, 0x80001);
    if ($fd < 0) { print "userfaultfd: $!\n"; exit }
    open(my $uffd, "+<&=", $fd) or die "fdopen: $!\n";
    my $api = pack("Q3", 0xaa, 1 << 15, 0);
    defined ioctl($uffd, 0xc018aa3f, $api) or print "UFFD_FEATURE_WP_ASYNC: UFFDIO_API: $!\n";
  ' 2>&1
}

check_kernel() {
  local release found line
  release=$(uname -r)
  if ! version_at_least "${release%%-*}" "$kernel_minimum"; then
    problems+=("Linux >= $kernel_minimum: this is $release; on Debian 12: apt-get install -t bookworm-backports linux-image-amd64, then reboot")
    return
  fi
  found=$(probe_kernel)
  while IFS= read -r line; do
    [[ -z $line ]] || problems+=("kernel feature missing in $release: $line")
  done <<<"$found"
}

# QEMU writes its device state into a file that kemari serves.
check_fuse() {
  [[ -c /dev/fuse ]] || modprobe fuse 2>/dev/null || true
  if [[ ! -c /dev/fuse ]]; then
    problems+=('/dev/fuse: not there; load the kernel module fuse, or pass the device to this container')
  elif ! (exec {fuse_fd}<>/dev/fuse) 2>/dev/null; then
    problems+=('/dev/fuse: cannot be opened; this container or user may not use it')
  fi
}

check_tun() {
  [[ -c /dev/net/tun ]] || modprobe tun 2>/dev/null || true
  if [[ ! -c /dev/net/tun ]]; then
    problems+=('/dev/net/tun: not there; load the kernel module tun, or pass the device to this container')
  elif ! (exec {tun_fd}<>/dev/net/tun) 2>/dev/null; then
    problems+=('/dev/net/tun: cannot be opened; this container or user may not use it')
  fi
}

# Bridges, veth pairs and network namespaces, tried inside a namespace that ends with the probe.
check_network() {
  local said
  command -v ip >/dev/null || return 0 # comes with iproute2, and is checked then
  said=$(unshare --net sh -c 'ip link add kmprobe0 type bridge && ip link add kmprobe1 type veth peer name kmprobe2' 2>&1) ||
    problems+=("network namespace with a bridge and a veth pair: ${said//$'\n'/; }")
}

check_node() {
  local found hint='on Debian 13: apt-get install nodejs npm; on Debian 12: the nodejs package of deb.nodesource.com'
  if ! found=$(node --version 2>/dev/null); then
    problems+=("Node.js >= $node_minimum: none found; $hint")
  elif ! version_at_least "${found#v}" "$node_minimum"; then
    problems+=("Node.js >= $node_minimum: found $found; $hint")
  fi
  command -v npm >/dev/null || problems+=("npm: not found; $hint")
}

check_disk_space() {
  local need=$disk_space_cold_mib free
  [[ -f $cache/guest/stamp && -d $repo/node_modules ]] && need=$disk_space_warm_mib
  free=$(df --output=avail --block-size=1M "$repo" | tail -n 1)
  ((free >= need)) || problems+=("disk space: $((free)) MiB free in $repo, $need MiB needed")
}

check_host() {
  [[ -n ${KEMARI_NO_PACKAGES:-} ]] || check_system
  check_kernel
  check_tun
  check_fuse
  check_network
  check_node
  check_disk_space
  ((${#problems[@]} == 0)) || die 'this host lacks what kemari needs:' "${problems[@]}"
}
