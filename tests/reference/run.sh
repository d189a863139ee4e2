#!/bin/bash
# The ten reference models against an independent implementation on PyTorch (Debian: python3-torch), where that is installed; `hub`:
# folders as the Hugging Face hub has them, and their way through GGUF (hub.py), `encoders`, `tasks`: of BERT's
# family, pre-trained and fine-tuned (encoders.py, tasks.py).   usage: run.sh BUILD [NAME ...]
set -u
build=$(realpath "$1"); shift
here=$(cd "$(dirname "$0")" && pwd)
python=""
for p in /usr/bin/python3 python3; do
	"$p" -c 'import torch' 2> /dev/null && { python=$p; break; }
done
[ -n "$python" ] || { echo "reference: skipped, PyTorch is not installed (apt install python3-torch)"; exit 0; }
[ $# -gt 0 ] || set -- gpt2 llama bert minilm vit whisper sasrec clip t5 mixtral hub encoders tasks
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
names=() failed=0
for name in "$@"; do
	[[ " hub encoders tasks " == *" $name "* ]] && continue
	names+=("$name")
	"$build/sinter" build "$here/$name.sinter" -o "$tmp/$name" || { echo "reference: $name does not build"; exit 1; }
done
export PYTHONDONTWRITEBYTECODE=1
cd "$here" || exit 2
[ ${#names[@]} = 0 ] || "$python" compare.py "$tmp" "${names[@]}" || failed=1
for script in hub encoders tasks; do
	[[ " $* " != *" $script "* ]] || "$python" $script.py "$build" "$tmp/$script" || failed=1
done
exit $failed
