# An empty document: it has nothing wrong, no symbols, and is formatted as it is.
send {"id":1,"method":"initialize","params":{"capabilities":{}}}
wait 1
send {"method":"initialized","params":{}}
send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file://@DIR@/empty.sinter","languageId":"sinter","version":0,"text":""}}}
diag file://@DIR@/empty.sinter 0
is params.diagnostics []
send {"id":2,"method":"textDocument/documentSymbol","params":{"textDocument":{"uri":"file://@DIR@/empty.sinter"}}}
wait 2
is result []
send {"id":3,"method":"textDocument/formatting","params":{"textDocument":{"uri":"file://@DIR@/empty.sinter"},"options":{"tabSize":2,"insertSpaces":true}}}
wait 3
is result []
send {"id":4,"method":"shutdown"}
wait 4
send {"method":"exit"}
exit 0
