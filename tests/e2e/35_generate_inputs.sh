# Generation of more than a text's continuation: an encoder's inputs from a file or a text, ids without a tokenizer, beams.
st() {  # FILE NAME=DTYPE:SHAPE:VALUES..: a safetensors file; values i32 or bool, f32 counting up by 0.1
	python3 - "$@" <<'P'
import json, struct, sys
head, data = {}, b''
for part in sys.argv[2:]:
    name, rest = part.split('=')
    dtype, shape, values = rest.split(':')
    shape = [int(n) for n in shape.split(',')]
    n = 1
    for k in shape: n *= k
    v = [float(x) for x in values.split(',')] if values else [0.1 * i for i in range(n)]
    kind = {'F32': 'f', 'I32': 'i', 'BOOL': '?'}[dtype]
    raw = struct.pack('<%d%s' % (n, kind), *[x if kind == 'f' else int(x) for x in v])
    head[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(head).encode()
open(sys.argv[1], 'wb').write(struct.pack('<Q', len(text)) + text + data)
P
}
check "t5 builds" "$sinter" build models/t5.sinter --preset nano --set T=16 --set S=9 --set V=256 -o "$tmp/t5"
check "help speaks of dims of the file alone" sh -c "'$tmp/t5' generate --help > '$tmp/said' && grep -q 'S: at most 9' '$tmp/said' && ! grep '\.all' '$tmp/said'"
check "whisper builds with its beam of 5" "$sinter" build models/whisper.sinter --preset nano --entry transcribe -o "$tmp/whisper"
st "$tmp/source" source=I32:1,4:5,6,7,8 real=BOOL:1,4:1,1,1,1
st "$tmp/longer" source=I32:1,6:5,6,7,8,9,9 real=BOOL:1,6:1,1,1,1,0,0
st "$tmp/other_source" source=I32:1,4:9,1,2,3 real=BOOL:1,4:1,1,1,1
gen="$tmp/t5 generate --random --seed 3 --ids --prompt-ids 0,4 -n 12 -q --temp 0.1"
$gen --inputs "$tmp/source" > "$tmp/a" 2> "$tmp/err" || bad "t5 generates" "$(cat "$tmp/err")"
$gen --inputs "$tmp/longer" > "$tmp/b" 2> /dev/null
$gen --inputs "$tmp/other_source" > "$tmp/c" 2> /dev/null
$gen --inputs "$tmp/source" -t 1 > "$tmp/d" 2> /dev/null
[ "$(wc -w < "$tmp/a")" = 14 ] && ok "ids: the prompt's and those drawn" || bad "ids: the prompt's and those drawn" "$(cat "$tmp/a")"
check "masked positions of the source don't count" cmp "$tmp/a" "$tmp/b"
check "threads don't count" cmp "$tmp/a" "$tmp/d"
if cmp -s "$tmp/a" "$tmp/c"; then bad "another source gives the same"; else ok "another source gives another"; fi
printf '\x05\x06\x07\x08' > "$tmp/text"
$gen --source "$(cat "$tmp/text")" --tokenizer byte > "$tmp/e" 2> "$tmp/err" || bad "a source of text" "$(cat "$tmp/err")"
check "a source of text is its ids, all real" cmp "$tmp/a" "$tmp/e"
exits "inputs are asked for" 2 "needs source i32\[1,S\], real bool\[1,S\]: give --source TEXT or --inputs FILE" $gen
check "weights without a tokenizer" "$tmp/t5" init -o "$tmp/bare"
exits "the message says which there are" 3 "give one with --tokenizer \\(byte or a file\\)" "$tmp/t5" generate -m "$tmp/bare" -p a --source b
exits "not both" 2 "exclude each other" $gen --inputs "$tmp/source" --source x
st "$tmp/trained" target=I32:1,3:0,4,5 source=I32:1,4:5,6,7,8 real=BOOL:1,4:1,1,1,1
exits "what the prompt supplies is no input" 3 "generate takes it from --prompt or --prompt-ids, not from a file" $gen --inputs "$tmp/trained"
exits "ids are ids" 2 "prompt-ids wants" "$tmp/t5" generate --random --ids --prompt-ids 1,x --inputs "$tmp/source"
exits "ids are within the vocabulary" 3 "vocabulary" "$tmp/t5" generate --random --ids --prompt-ids 999999 --inputs "$tmp/source"
exits "a beam is within what was compiled" 2 "compiled for 1 sequences" $gen --inputs "$tmp/source" --beam 3
exits "a source too long" 3 "compiled for 9 at most" $gen --tokenizer byte --source 0123456789
shape=$("$sinter" build models/whisper.sinter --preset nano --entry transcribe --emit=graph 2> /dev/null | sed -nE 's/.*input .name="mel".* : f32\[B,([0-9,]*)\].*/\1/p' | head -n 1)
st "$tmp/mel" "mel=F32:1,$shape:"
hear="$tmp/whisper transcribe --random --seed 2 --ids --prompt-ids 1,2 -n 6 -q --inputs $tmp/mel"
$hear > "$tmp/a" 2> "$tmp/err" || bad "whisper follows five sequences" "$(cat "$tmp/err")"
$hear -t 1 > "$tmp/b" 2> /dev/null
check "an example of its inputs" "$tmp/whisper" transcribe --example-inputs "$tmp/example"
check "is one that it takes" "$tmp/whisper" transcribe --random --ids --prompt-ids 1,2 -n 6 -q --inputs "$tmp/example"
check "beams are the same on 1 thread" cmp "$tmp/a" "$tmp/b"
[ "$(wc -w < "$tmp/a")" -ge 3 ] && ok "beams give ids" || bad "beams give ids" "$(cat "$tmp/a")"
exits "an input file that does not fit says what is wanted" 3 "mel" "$tmp/whisper" transcribe --random --ids --prompt-ids 1 --inputs "$tmp/source"
