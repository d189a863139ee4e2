# A request before shutdown is answered before it, though its analysis is still to come.
send {"id":1,"method":"initialize","params":{"capabilities":{}}}
wait 1
send {"method":"initialized","params":{}}
send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file://@DIR@/many.sinter","languageId":"sinter","version":0,"text":"@TEXT:tests/e2e/lsp/gpt2.sinter@"}}}
send {"id":2,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/many.sinter"},"position":{"line":21,"character":2}}}
send {"id":3,"method":"shutdown"}
send {"id":4,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/many.sinter"},"position":{"line":21,"character":2}}}
wait 4
is error.code -32600
wait 2
has result.contents.value q: [B,T,H,K]
wait 3
is result null
send {"method":"exit"}
exit 0
