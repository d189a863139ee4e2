# `sinter lsp` under the message sequences of VS Code's and Neovim's clients, and under broken ones (lsp/*.lsp).
mkdir "$tmp/edited"
cat > "$tmp/edited/part.sinter" <<-'END'
	config { D: dim = 4 }
	dim B, T
	block A(x: [B,T,D]) -> [B,T,D] {
	  up: linear(D -> D)
	  return up(x)
	}
END
check "the client compiles" gcc -O1 -D_GNU_SOURCE tests/e2e/lsp_client.c -o "$tmp/lsp_client" -ljansson
for script in tests/e2e/lsp/*.lsp; do
	check "$(head -n 1 "$script" | sed 's/^# //; s/[:,.].*//')" env LSP_DIR="$tmp/edited" "$tmp/lsp_client" "$script" "$sinter" lsp
done
# A thousand edits of one long line, each of which a running analysis is given up for: no memory, process or descriptor is kept.
{
	echo 'send {"id":1,"method":"initialize","params":{"capabilities":{}}}'
	echo 'send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file://@DIR@/many.sinter","version":0,"text":"@TEXT:tests/e2e/lsp/gpt2.sinter@"}}}'
	for i in $(seq 1000); do
		echo 'send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/many.sinter","version":'"$i"'},"contentChanges":[{"range":{"start":{"line":40,"character":0},"end":{"line":40,"character":0}},"text":"name'"$i"'_"}]}}'
		[ $((i % 50)) = 0 ] && echo 'send {"id":'"$((i + 10))"',"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/many.sinter"},"position":{"line":21,"character":2}}}' && echo "wait $((i + 10))" && echo 'has result.contents.value q: [B,T,H,K]'
	done
	echo 'diag file://@DIR@/many.sinter 1000'
	echo 'send {"id":2,"method":"shutdown"}'; echo 'wait 2'; echo 'send {"method":"exit"}'; echo 'exit 0'
} > "$tmp/many.lsp"
check "a thousand edits" env LSP_DIR="$tmp/edited" "$tmp/lsp_client" "$tmp/many.lsp" "$sinter" lsp
[ $sanitized = 1 ] || check "in 32 open files and 1 GB of addresses" bash -c "ulimit -n 32; ulimit -v 1000000; LSP_DIR=$tmp/edited '$tmp/lsp_client' '$tmp/many.lsp' '$sinter' lsp"
