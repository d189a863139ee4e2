#!/bin/bash
# Unpacks Debian packages of another architecture into a directory: headers and libraries to compile against. What is
# installed stays as it is; no root needed. usage: foreign.sh ARCH DIR PACKAGE...
set -u
arch=$1 dir=$2; shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir" "$work/lists/partial" "$work/archives/partial"
apt() {
	apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State::Lists="$work/lists" \
		-o Dir::State::status=/dev/null -o Dir::Cache="$work" -o APT::Sandbox::User="$(id -un)" "$@"
}
fail() { echo "could not get $* for $arch: see apt-get's messages above" >&2; exit 1; }
echo "  unpacking for $arch: $*"
apt update || fail "$@"
(cd "$work" && apt download "$@") || fail "$@"
for deb in "$work"/*.deb; do
	dpkg-deb -x "$deb" "$dir" || exit 1
done
