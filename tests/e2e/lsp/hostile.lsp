# Messages out of order, broken, or about nothing: each has its answer, and the server goes on.
send {"id":1,"method":"textDocument/hover","params":{}}
wait 1
is error.code -32002
send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///early","version":1,"text":"x"}}}
send {"id":"two","method":"initialize","params":{"capabilities":{}}}
wait "two"
is result.capabilities.positionEncoding "utf-16"
send {"id":3,"method":"initialize","params":{"capabilities":{}}}
wait 3
is error.code -32600
send {"id":4,"method":"nothing/like/this"}
wait 4
is error.code -32601
send {"method":"nothing/like/this"}
raw Content-Length: 7\r\n\r\n{broken
null
is error.code -32700
raw Content-Length: 17\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n[1, 2, 3, 4, 5,6]
null
is error.code -32600
raw Content-Length: abc\r\n\r\n
raw Nonsense\r\n\r\n
raw content-length:   47\r\n\r\n{"jsonrpc":"2.0","id":5,"method":"nosuchmethod"}
# the number was one short: the rest of that message is skipped up to the next header
null
is error.code -32700
raw \r\n
send {"id":6,"method":"nosuch"}
wait 6
is error.code -32601
send {"id":7,"method":"textDocument/hover","params":{"textDocument":{"uri":"file:///not/open"},"position":{"line":0,"character":0}}}
wait 7
is error.code -32602
send {"id":{"a":1},"method":"shutdown"}
null
is error.code -32600
send {"id":8,"result":null}
send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"untitled:Untitled-1","languageId":"sinter","version":1,"text":"dim B\n"}}}
diag untitled:Untitled-1 1
is params.diagnostics []
send {"id":9,"method":"textDocument/hover","params":{"textDocument":{"uri":"untitled:Untitled-1"},"position":{"line":-1}}}
wait 9
is error.code -32602
send {"id":10,"method":"textDocument/hover","params":{"textDocument":{"uri":"untitled:Untitled-1"},"position":{"line":99999999999,"character":4611686018427387904}}}
wait 10
is result null
# changes that make no sense are ignored, the others are not
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"untitled:Untitled-1","version":2},"contentChanges":[{"range":{"start":7},"text":"x"},{"nothing":1},{"range":{"start":{"line":500,"character":500},"end":{"line":0,"character":0}},"text":"dim T <= "}]}}
diag untitled:Untitled-1 2
is params.diagnostics.0.severity 1
# a request that is cancelled before its text is understood
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"untitled:Untitled-1","version":3},"contentChanges":[{"text":"@TEXT:tests/e2e/lsp/gpt2.sinter@"}]}}
send {"id":11,"method":"textDocument/hover","params":{"textDocument":{"uri":"untitled:Untitled-1"},"position":{"line":0,"character":0}}}
send {"method":"$/cancelRequest","params":{"id":11}}
send {"method":"$/cancelRequest","params":{"id":12345}}
wait 11
is error.code -32800
# NUL and every other control character is text of the editor's, and an error of the file's
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"untitled:Untitled-1","version":4},"contentChanges":[{"text":"dim B\u0000\n"}]}}
diag untitled:Untitled-1 4
is params.diagnostics.0.code "E0101"
# expansions without bound end, and are said
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"untitled:Untitled-1","version":5},"contentChanges":[{"text":"fn a(x: [...]) -> [...] = x + 1\nfn b(x: [...]) -> [...] = a(a(a(a(a(a(a(a(a(a(a(a(x))))))))))))\nfn c(x: [...]) -> [...] = b(b(b(b(b(b(b(b(b(b(b(b(x))))))))))))\nfn d(x: [...]) -> [...] = c(c(c(c(c(c(c(c(c(c(c(c(x))))))))))))\nfn e(x: [...]) -> [...] = d(d(d(d(d(d(d(d(d(d(d(d(x))))))))))))\nfn f(x: [...]) -> [...] = e(e(e(e(e(e(e(e(e(e(e(e(x))))))))))))\nfn g(x: [...]) -> [...] = f(f(f(f(f(f(f(f(f(f(f(f(x))))))))))))\n"}]}}
diag untitled:Untitled-1 5
has params.diagnostics "code":"E0313"
send {"id":12,"method":"shutdown"}
wait 12
is result null
send {"id":13,"method":"textDocument/hover","params":{"textDocument":{"uri":"untitled:Untitled-1"},"position":{"line":0,"character":0}}}
wait 13
is error.code -32600
send {"method":"exit"}
exit 0
