# Sourced by hack/setup: the Debian packages kemari needs, by what they are for, and how they come here.

runtime_packages=(qemu-system-x86 liburing2 libnbd0 liblz4-1 iproute2)
build_packages=(g++ make python3 pkg-config liburing-dev libnbd-dev liblz4-dev)
# hack/guest-image: root file system, initrd and boot disk.
guest_packages=(mmdebstrap e2fsprogs cpio mtools syslinux syslinux-common fdisk)
# What the two hosts of the demo and the tests need: their client, their storage, what cuts cables and what listens to them.
demo_packages=(curl mount nbd-server nftables tcpdump)
# kemari bench: the font of its charts, and how it reaches hosts of others.
bench_packages=(fonts-dejavu-core openssh-client)
# The one version of clang's tools that both Debian 12 and 13 have.
clang_version=19
# Storage hosts, load generators and the peers that the tests and benchmarks measure against.
test_packages=(nbdkit fio iperf3 dropbear-bin qemu-utils util-linux procps "clang-format-$clang_version")
fuzz_packages=(libssl-dev "clang-$clang_version" "libclang-rt-$clang_version-dev" "llvm-$clang_version")

# hack/xen-build: the hypervisor from Debian's source package.
xen_build_packages=(gcc make bison flex python3 patch dpkg-dev xz-utils)
# hack/xen-image: what runs above it; test/xen starts it in QEMU.
xen_image_packages=(mmdebstrap e2fsprogs cpio kmod)

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
  local wanted
  for wanted in "$@"; do
    # One line an architecture; `not-installed` is one that dpkg remembers.
    dpkg-query -W -f '${db:Status-Status}\n' "$wanted" 2>/dev/null | grep -qx installed || printf '%s\n' "$wanted"
  done
}

# known_to_apt NAME...: whether apt's lists, as they are now, have a version of each.
known_to_apt() {
  local wanted
  for wanted in "$@"; do
    apt-cache policy "$wanted" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
  done
}

# install_packages NAME...: nothing when all are there; else refreshes apt's lists only when they lack one.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} > 0)) || return 0
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  if ! known_to_apt "${missing[@]}"; then
    step apt-update 'refreshing the package lists (apt-get update)' "${apt[@]}" update
  fi
  local install=("${apt[@]}" install --yes --no-install-recommends "${missing[@]}")
  say "installing Debian packages: ${missing[*]}"
  if ! "${install[@]}" >"$cache/log/apt-install.log" 2>&1 </dev/null; then
    # Lists that are old name files that the mirror no longer has.
    step apt-update 'refreshing the package lists (apt-get update)' "${apt[@]}" update
    step apt-install 'installing them again' "${install[@]}"
  fi
}
