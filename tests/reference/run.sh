#!/bin/bash
# The ten reference models against an independent implementation on PyTorch (Debian: python3-torch), where that is installed.
# usage: run.sh BUILD [NAME ...]
set -u
build=$(realpath "$1"); shift
here=$(cd "$(dirname "$0")" && pwd)
python=""
for p in /usr/bin/python3 python3; do
	"$p" -c 'import torch' 2> /dev/null && { python=$p; break; }
done
[ -n "$python" ] || { echo "reference: skipped, PyTorch is not installed (apt install python3-torch)"; exit 0; }
[ $# -gt 0 ] || set -- gpt2 llama bert minilm vit whisper sasrec clip t5 mixtral
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
for name in "$@"; do
	"$build/sinter" build "$here/$name.sinter" -o "$tmp/$name" || { echo "reference: $name does not build"; exit 1; }
done
cd "$here" && PYTHONDONTWRITEBYTECODE=1 "$python" compare.py "$tmp" "$@"
