# A session as vscode-languageclient 9 conducts it: UTF-16 positions, one didChange for each key, requests between.
send {"id":0,"method":"initialize","params":{"processId":4711,"clientInfo":{"name":"Visual Studio Code","version":"1.95.0"},"locale":"en","rootPath":"@DIR@","rootUri":"file://@DIR@","capabilities":{"workspace":{"applyEdit":true,"workspaceEdit":{"documentChanges":true},"didChangeWatchedFiles":{"dynamicRegistration":true}},"textDocument":{"publishDiagnostics":{"relatedInformation":true,"versionSupport":true,"tagSupport":{"valueSet":[1,2]},"codeDescriptionSupport":true,"dataSupport":true},"synchronization":{"dynamicRegistration":true,"willSave":true,"didSave":true},"hover":{"contentFormat":["markdown","plaintext"]},"documentSymbol":{"hierarchicalDocumentSymbolSupport":true}},"general":{"staleRequestSupport":{"cancel":true},"positionEncodings":["utf-16"]}},"trace":"off","workspaceFolders":[{"uri":"file://@DIR@","name":"work"}]}}
wait 0
is result.capabilities.positionEncoding "utf-16"
is result.capabilities.textDocumentSync.change 2
is result.capabilities.hoverProvider true
is result.capabilities.definitionProvider true
is result.capabilities.documentSymbolProvider true
is result.serverInfo.name "sinter"
send {"method":"initialized","params":{}}
send {"method":"$/setTrace","params":{"value":"off"}}
send {"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","languageId":"sinter","version":1,"text":"@TEXT:tests/e2e/lsp/gpt2.sinter@"}}}
send {"id":1,"method":"textDocument/documentSymbol","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"}}}
send {"id":2,"method":"textDocument/semanticTokens/full","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"}}}
wait 2
is error.code -32601
diag file://@DIR@/gpt2.sinter 1
lacks params.diagnostics "severity":1
wait 1
has result "name":"Attention"
has result "name":"c_attn"
has result "name":"GPT2"
has result "name":"weights"

# hover: q of `q, k, v = unstack(..)`; c_attn where it is called; K in `[3,H,K]`; the preset's D
send {"id":3,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":21,"character":2}}}
wait 3
has result.contents.value q: [B,T,H,K]
has result.contents.value [B,T,12,64]
send {"id":4,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":21,"character":22}}}
wait 4
has result.contents.value c_attn: linear(D -> [3,H,K], stored=in_out)
has result.contents.value parameters: 1,771,776
has result.contents.value gives `[B,T,3,H,K]`
is result.range.start {"line":21,"character":20}
is result.range.end {"line":21,"character":26}
send {"id":5,"method":"textDocument/definition","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":21,"character":22}}}
wait 5
is result {"uri":"file://@DIR@/gpt2.sinter","range":{"start":{"line":19,"character":2},"end":{"line":19,"character":8}}}
# a whole model: its parameters are those of the checkpoint
send {"id":6,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":40,"character":7}}}
wait 6
has result.contents.value model GPT2(tokens: id(V)[B,T]) -> [B,T,V]
has result.contents.value parameters: 124,439,808
# names of the config and run-time dims
send {"id":7,"method":"textDocument/definition","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":18,"character":23}}}
wait 7
is result.range.start {"line":16,"character":7}
send {"id":8,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":18,"character":23}}}
wait 8
has result.contents.value dim T <= N
has result.contents.value at most 1024
# a function of the prelude has no place a user can see, but a signature
send {"id":9,"method":"textDocument/definition","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":28,"character":26}}}
wait 9
is result null
send {"id":10,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":28,"character":26}}}
wait 10
has result.contents.value fn gelu_tanh(x: [...]) -> [...]
send {"id":11,"method":"textDocument/references","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"position":{"line":19,"character":3},"context":{"includeDeclaration":true}}}
wait 11
has result {"start":{"line":19,"character":2},"end":{"line":19,"character":8}}
has result {"start":{"line":21,"character":20},"end":{"line":21,"character":26}}

# typing over c_attn, key by key; only the last text is worth an answer
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":2},"contentChanges":[{"range":{"start":{"line":21,"character":25},"end":{"line":21,"character":26}},"rangeLength":1,"text":""}]}}
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":3},"contentChanges":[{"range":{"start":{"line":21,"character":24},"end":{"line":21,"character":25}},"rangeLength":1,"text":""}]}}
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":4},"contentChanges":[{"range":{"start":{"line":21,"character":24},"end":{"line":21,"character":24}},"rangeLength":0,"text":"m"}]}}
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":5},"contentChanges":[{"range":{"start":{"line":21,"character":25},"end":{"line":21,"character":25}},"rangeLength":0,"text":"n"}]}}
send {"id":12,"method":"textDocument/codeAction","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"},"range":{"start":{"line":21,"character":23},"end":{"line":21,"character":23}},"context":{"diagnostics":[],"triggerKind":2}}}
wait 12
is result.0.title "change to `c_attn`"
is result.0.edit.changes {"file://@DIR@/gpt2.sinter":[{"range":{"start":{"line":21,"character":20},"end":{"line":21,"character":26}},"newText":"c_attn"}]}
diag file://@DIR@/gpt2.sinter 5
is params.diagnostics.0.code "E0312"
is params.diagnostics.0.severity 1
is params.diagnostics.0.range {"start":{"line":21,"character":20},"end":{"line":21,"character":26}}
has params.diagnostics.0.message did you mean `c_attn`?

# several changes in one message, each on the text the ones before have made
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":6},"contentChanges":[{"range":{"start":{"line":21,"character":20},"end":{"line":21,"character":26}},"text":"c"},{"range":{"start":{"line":21,"character":21},"end":{"line":21,"character":21}},"text":"_attn"}]}}
diag file://@DIR@/gpt2.sinter 6
lacks params.diagnostics "severity":1

# characters beyond the BMP count two UTF-16 units each, in comments and in strings
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":7},"contentChanges":[{"text":"config { D: dim = 8 \"😀 𝄞\"; F: dim = D *\n  Q }  # 🚀 ü\ndim B, T <= 32\n"}]}}
diag file://@DIR@/gpt2.sinter 7
is params.diagnostics.0.code "E0301"
is params.diagnostics.0.range {"start":{"line":1,"character":2},"end":{"line":1,"character":3}}
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":8},"contentChanges":[{"range":{"start":{"line":0,"character":28},"end":{"line":1,"character":3}},"text":" F: dim = Q"}]}}
diag file://@DIR@/gpt2.sinter 8
is params.diagnostics.0.range {"start":{"line":0,"character":38},"end":{"line":0,"character":39}}
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter","version":9},"contentChanges":[{"range":{"start":{"line":0,"character":38},"end":{"line":0,"character":39}},"text":"D"},{"range":{"start":{"line":0,"character":45},"end":{"line":0,"character":47}},"text":"𝄞𝄞"},{"range":{"start":{"line":0,"character":50},"end":{"line":0,"character":50}},"text":"; dim"}]}}
diag file://@DIR@/gpt2.sinter 9
is params.diagnostics []
send {"method":"textDocument/didSave","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"}}}
send {"method":"textDocument/didClose","params":{"textDocument":{"uri":"file://@DIR@/gpt2.sinter"}}}
diag file://@DIR@/gpt2.sinter -
send {"id":13,"method":"shutdown"}
wait 13
is result null
send {"method":"exit"}
exit 0
