#!/bin/bash
# Installs the Debian packages named as arguments that are missing. Needs root or sudo only if something is.
set -u
missing=()
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} = 0 ] && exit 0
echo "installing: ${missing[*]}"
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq || exit 1
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null || {
	echo "could not install ${missing[*]}: see apt-get's messages above" >&2; exit 1; }
