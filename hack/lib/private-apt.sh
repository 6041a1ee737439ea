# Sourced by scripts in hack/ that take packages apart without installing them: an apt of our own, whose lists and
# whose idea of what is installed are apart from the host's.

# private_apt_open FOLDER SUITE...: makes it, below FOLDER, and refreshes its lists.
private_apt_open() {
  private_apt_folder=$1
  shift
  mkdir -p "$private_apt_folder"/{sources,lists/partial,archives/partial}
  cat >"$private_apt_folder/sources/debian.sources" <<END
Types: deb deb-src
URIs: ${KEMARI_DEBIAN_MIRROR:-http://deb.debian.org/debian}
Suites: $*
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
  private_apt apt-get --quiet update
}

# private_apt TOOL ARGUMENT...: apt-get or apt-cache.
private_apt() {
  local tool=$1
  shift
  "$tool" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$private_apt_folder/sources" \
    -o Dir::State::lists="$private_apt_folder/lists" -o Dir::Cache::archives="$private_apt_folder/archives" \
    -o Dir::Cache::pkgcache='' -o Dir::Cache::srcpkgcache='' -o APT::Sandbox::User=root "$@"
}
