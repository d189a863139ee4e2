# A session as Neovim 0.10 conducts it: it offers UTF-8, and has two files open of which one uses the other.
send {"id":1,"method":"initialize","params":{"processId":4712,"clientInfo":{"name":"Neovim","version":"0.10.2"},"rootUri":"file://@DIR@","rootPath":"@DIR@","trace":"off","initializationOptions":{},"workDoneToken":"1","workspaceFolders":[{"name":"@DIR@","uri":"file://@DIR@"}],"capabilities":{"general":{"positionEncodings":["utf-8","utf-16","utf-32"]},"textDocument":{"publishDiagnostics":{"relatedInformation":true,"tagSupport":{"valueSet":[1,2]},"dataSupport":true}}}}}
wait 1
is result.capabilities.positionEncoding "utf-8"
send {"method":"initialized","params":{}}
send {"method":"workspace/didChangeConfiguration","params":{"settings":{}}}
# on disk part.sinter has a block A; in the editor it is called Part, with another width
send {"method":"textDocument/didOpen","params":{"textDocument":{"languageId":"sinter","version":0,"uri":"file://@DIR@/main.sinter","text":"# 😀\nuse Part from \"part.sinter\" with { D = W }\nconfig { W: dim = 16 }\ndim B, T <= 8\nblock M(x: [B,T,W]) -> [B,T,W] {\n  part: Part\n  return part(x)\n}\n"}}}
diag file://@DIR@/main.sinter 0
is params.diagnostics.0.code "E0702"
is params.diagnostics.0.range {"start":{"line":1,"character":4},"end":{"line":1,"character":8}}
send {"method":"textDocument/didOpen","params":{"textDocument":{"languageId":"sinter","version":0,"uri":"file://@DIR@/part.sinter","text":"config { D: dim = 4 }\ndim B, T\n# 𝄞\nblock Part(x: [B,T,D]) -> [B,T,D] {\n  up: linear(D -> D)\n  return up(x)\n}\n"}}}
diag file://@DIR@/part.sinter 0
is params.diagnostics []
# opening it is enough for its user to see it
diag file://@DIR@/main.sinter 0
is params.diagnostics []
send {"id":2,"method":"textDocument/definition","params":{"textDocument":{"uri":"file://@DIR@/main.sinter"},"position":{"line":5,"character":9}}}
wait 2
is result {"uri":"file://@DIR@/part.sinter","range":{"start":{"line":3,"character":6},"end":{"line":3,"character":10}}}
send {"id":3,"method":"textDocument/definition","params":{"textDocument":{"uri":"file://@DIR@/main.sinter"},"position":{"line":1,"character":20}}}
wait 3
is result.uri "file://@DIR@/part.sinter"
send {"id":4,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/main.sinter"},"position":{"line":6,"character":10}}}
wait 4
has result.contents.value part: Part
has result.contents.value parameters: 272
send {"id":5,"method":"textDocument/completion","params":{"textDocument":{"uri":"file://@DIR@/main.sinter"},"position":{"line":6,"character":9}}}
wait 5
has result "label":"part"
has result "label":"x"
has result "label":"Part"
has result "label":"softmax"
has result "label":"linear"

# an edit of the used file is seen by its user at once
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":1},"contentChanges":[{"range":{"start":{"line":3,"character":6},"end":{"line":3,"character":10}},"rangeLength":4,"text":"Renamed"}]}}
diag file://@DIR@/main.sinter 0
is params.diagnostics.0.code "E0702"
diag file://@DIR@/part.sinter 1
is params.diagnostics []
# an error in the used file is shown at the `use`, with its place
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":2},"contentChanges":[{"range":{"start":{"line":3,"character":6},"end":{"line":3,"character":13}},"rangeLength":7,"text":"Part("}]}}
diag file://@DIR@/part.sinter 2
has params.diagnostics.0.code E0
diag file://@DIR@/main.sinter 0
is params.diagnostics.0.range.start {"line":1,"character":14}
has params.diagnostics.0.message part.sinter:4:
is params.diagnostics.0.relatedInformation.0.location.uri "file://@DIR@/part.sinter"
# bytes, where UTF-16 would say less: the comment's character has four
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":3},"contentChanges":[{"range":{"start":{"line":2,"character":6},"end":{"line":3,"character":11}},"rangeLength":9,"text":"!\nblock Part"}]}}
diag file://@DIR@/part.sinter 3
is params.diagnostics []
# related information: where the name was declared first
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":4},"contentChanges":[{"range":{"start":{"line":4,"character":0},"end":{"line":4,"character":0}},"rangeLength":0,"text":"  up: linear(D -> D)\n"}]}}
diag file://@DIR@/part.sinter 4
is params.diagnostics.0.code "E0302"
is params.diagnostics.0.range.start {"line":5,"character":2}
is params.diagnostics.0.relatedInformation.0.location.range.start {"line":4,"character":2}
# hover in broken text: what can be made out is still known
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":5},"contentChanges":[{"text":"config { D: dim = 4 }\ndim B, T\nblock Part(x: [B,T,D]) -> [B,T,D] {\n  up: linear(D -> 2*D)\n  y = up(x)\n  z = (y +\n  return y[..., :D]\n}\n"}]}}
send {"id":6,"method":"textDocument/hover","params":{"textDocument":{"uri":"file://@DIR@/part.sinter"},"position":{"line":4,"character":2}}}
wait 6
has result.contents.value y: [B,T,2*D]
diag file://@DIR@/part.sinter 5
is params.diagnostics.0.severity 1
# formatting: one edit, and nothing for text that is broken
send {"id":7,"method":"textDocument/formatting","params":{"textDocument":{"uri":"file://@DIR@/part.sinter"},"options":{"tabSize":2,"insertSpaces":true}}}
wait 7
is result null
send {"method":"textDocument/didChange","params":{"textDocument":{"uri":"file://@DIR@/part.sinter","version":6},"contentChanges":[{"text":"dim   B"}]}}
send {"id":8,"method":"textDocument/formatting","params":{"textDocument":{"uri":"file://@DIR@/part.sinter"},"options":{"tabSize":2,"insertSpaces":true}}}
wait 8
is result.0.range {"start":{"line":0,"character":0},"end":{"line":0,"character":7}}
has result.0.newText dim B
send {"method":"textDocument/didClose","params":{"textDocument":{"uri":"file://@DIR@/part.sinter"}}}
# closed, the disk's text counts again: there is no Part
diag file://@DIR@/main.sinter 0
send {"id":9,"method":"textDocument/documentSymbol","params":{"textDocument":{"uri":"file://@DIR@/main.sinter"}}}
wait 9
has result "name":"M"
send {"id":10,"method":"shutdown","params":null}
wait 10
send {"method":"exit","params":null}
exit 0
