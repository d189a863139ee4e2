" Highlighting of Sinter model files for Vim and Neovim.
if exists("b:current_syntax") | finish | endif
syn keyword sinterDeclaration config preset dim block fn model weights train eval generate explain infer
syn keyword sinterKeyword use from with require repeat as of param at on every return for in if else and or not
syn keyword sinterConstant true false none causal all
syn keyword sinterType f32 bf16 f16 i32 bool int float mask id oneof string
syn match sinterLayer "\<\(linear\|embedding\|layernorm\|rmsnorm\|batchnorm\|groupnorm\|conv1d\|conv2d\|moe\)\ze\s*("
syn match sinterDim "\<[A-Z][A-Z0-9]\?\>"
syn match sinterCall "\<\h\w*\ze\s*(" contains=sinterLayer
syn match sinterNumber "\<\d\(_\?\d\)*\(\.\d\(_\?\d\)*\)\?\([eE][+-]\?\d\+\)\?\>"
syn region sinterString start=+"+ skip=+\\.+ end=+"+ oneline
syn match sinterComment "#.*$"
hi def link sinterDeclaration Structure
hi def link sinterKeyword Keyword
hi def link sinterConstant Constant
hi def link sinterType Type
hi def link sinterLayer Special
hi def link sinterDim Identifier
hi def link sinterCall Function
hi def link sinterNumber Number
hi def link sinterString String
hi def link sinterComment Comment
let b:current_syntax = "sinter"
