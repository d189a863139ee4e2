# Hostile texts: each ends in a clear error within seconds and 3 GB of addresses, and never says more than 20 of them.
shopt -s lastpipe   # so that what stands behind a pipe can count
dims='config { D: dim = 8 }\ndim B, T <= 32\n'
block='block A(x: [B,T,D]) -> [B,T,D] {\n'
times() { yes "$2" | head -n "$1" | tr -d '\n'; }   # N TEXT: the text N times, in one line
numbered() { seq -f "$2%.0f$3" "$1" | tr -d '\n'; }   # N BEFORE AFTER: each with its number between
lines() { yes "$2" | head -n "$1"; }
ends() {  # NAME PATTERN COMMAND...: standard input is the file; %s in the command stands for it
	local name=$1 pattern=$2 suffix=sinter; shift 2
	[ "$1" = opt ] && suffix=ir
	cat > "$tmp/hostile.$suffix"
	(
		[ $sanitized = 1 ] || ulimit -v 3000000
		timeout $((sanitized ? 60 : 10)) "$sinter" "${@//%s/$tmp/hostile.$suffix}" > /dev/null 2> "$tmp/said"; echo $? > "$tmp/code"
	)
	if [ "$(cat "$tmp/code")" = 1 ] && grep -qE -- "$pattern" "$tmp/said" && [ "$(wc -l < "$tmp/said")" -lt 120 ]; then ok "$name"
	else bad "$name" "exit $(cat "$tmp/code"), wanted 1 and /$pattern/ in:" "$(head -c 400 "$tmp/said")"; fi
}
emit="build %s --emit=graph -o $tmp/no-graph"

{ printf "$dims$block  return "; times 100000 '('; printf 'x\n}\n'; } | ends "100000 open brackets" E0109 check %s
{ printf "$dims$block  return "; times 100000 '('; printf x; times 100000 ')'; printf '\n}\n'; } | ends "100000 pairs of brackets" E0109 check %s
{ printf "$dims$block"; times 100000 '{ if true '; } | ends "100000 open braces" E0109 check %s
{ printf 'fn f(x: [...]) -> [...] = '; times 100000 -; printf 'x\n'; } | ends "100000 signs" E0109 check %s
{ printf 'fn f(x: [...]) -> [...] = x'; times 20000 ' + x'; printf '\n'; } | ends "a sum of 20000" E0204 check %s
{ printf "${dims}model M(x: [B,T,D]) -> [B,T,D] {\n  h: "; times 100000 'repeat 2 of '; printf 'linear(D -> D)\n  return h(x)\n}\n'; } | ends "100000 repeats in each other" E0109 check %s
repeats() { printf "${dims}model M(x: [B,T,D]) -> [B,T,D] {\n  h: $1 linear(D -> D)\n  return h(x)\n}\ninfer(x: [B,T,D]) -> [B,T,D] { return M(x) }\n"; }
repeats 'repeat 1000 of repeat 1000 of repeat 1000 of' | ends "repeats of 1000 x 1000 x 1000" E0313 $emit
repeats 'repeat 1_000_000_000 of' | ends "a repeat of 10^9" E0438 $emit
printf "${dims}model M(x: [B,T,D]) -> [B,T,D] {\n  for i in 0 .. 1000 { for j in 0 .. 1000 { for k in 0 .. 1000 { x += 1 } } }\n  return x\n}\ninfer(x: [B,T,D]) -> [B,T,D] { return M(x) }\n" | ends "loops of 1000 x 1000 x 1000" E0313 $emit
{ printf 'fn f0(x: [...]) -> [...] = x\n'; for i in $(seq 60); do printf "fn f$i(x: [...]) -> [...] = f$((i-1))(f$((i-1))(x))\n"; done; } | ends "60 functions that call two" E0313 check %s
{ printf "$dims"; printf 'block A(x: [B,T,D]) -> [B,T,D] {\n  l: linear(D -> D)\n  return l(x)\n}\n'; for i in $(seq 100); do printf "block A$i(x: [B,T,D]) -> [B,T,D] {\n  a, b: A$([ $i = 1 ] || echo $((i-1)))\n  return b(a(x))\n}\n"; done; } | ends "100 blocks of two" "E0313|E0309" check %s
printf "$dims${block}  a, b: A\n  return b(a(x))\n}\n" | ends "a block of itself twice" E0309 check %s
printf 'fn f(x: [...]) -> [...] = g(g(x))\nfn g(x: [...]) -> [...] = f(f(x))\n' | ends "functions that call one another" E0310 check %s
{ printf "$dims"; for i in $(seq 400); do printf "fn f$i(x: [...]) -> [...] = -f$((i-1))(x)\n"; done; } | ends "a chain of 400 functions" E0310 check %s
{ printf 'config {\n'; for i in $(seq 4000); do printf "  a$i: int = a$((i+1))\n"; done; printf '}\n'; } | ends "a chain of 4000 config values" E0310 check %s
for n in 1000000000000000000000000000000 9223372036854775808; do printf "config { D: dim = $n }\n" | ends "the number $n" E0105 check %s; done
printf 'config { D: dim = 2147483647; E: dim = D * D * D * D }\n' | ends "a product beyond 2^63" E0711 check %s
printf 'dim B, T\nfn f(x: [((((T^60)^60)^60)^60)^60]) -> [T] = x\n' | ends "powers of powers" E0421 check %s
printf "${dims}model M(x: [B,T,D]) -> [B,T,D] {\n  n = T\n  for i in 0 .. 200 { n = (n / (n + 3)) * n + T %% (n + 1) }\n  return x + n\n}\ninfer(x: [B,T,D]) -> [B,T,D] { return M(x) }\n" | ends "a formula that doubles" E0459 $emit
printf 'config { D: dim = 8 }\n# \377\376\n' | ends "bytes that are no UTF-8" E0101 check %s
printf 'config { D: dim = 8 }\n\0\n' | ends "a NUL byte" E0101 check %s
head -c 10000000 /dev/zero | tr '\0' x | ends "10 MB on one line" E0111 check %s
lines 1700000 'dim a' | ends "10 MB of lines" E0111 check %s
lines 300000 'dim a' | ends "more statements than anybody writes" E0111 check %s
head -c 3900000 /dev/zero | tr '\0' '$' | ends "4 MB of errors" "E0209|and 30 more errors and warnings, not shown" check %s
{ printf "$dims$block"; seq -f 'y%.0f = xx + x' 9000; printf 'return x\n}\n'; } | ends "9000 errors" "more errors and warnings, not shown" check %s
printf 'use A from "hostile.sinter"\nuse A from "./hostile.sinter"\nuse A from "../%s/hostile.sinter"\n' "$(basename "$tmp")" | ends "a file that uses itself, three times" E0703 check %s

graph='graph f(T <= 4) {\n  %%0 = input {name="x"} : f32['
{ printf "$graph"; times 100000 '('; printf 'T]\n}\n'; } | ends "a graph with 100000 brackets" E0908 opt %s
{ printf "$graph"; printf T; times 100000 '/(T+1)'; printf ']\n}\n'; } | ends "a graph with 100000 divisions" E0908 opt %s
{ printf "${graph}T"; numbered 100000 ' + T' ''; printf ']\n}\n'; } | ends "a graph with a sum of 100000" E0908 opt %s
{ printf "graph f(T <= 4"; numbered 300000 ', T' ' <= 4'; printf ') {\n}\n'; } | ends "a graph with 300000 symbols" E0909 opt %s
{ printf 'graph f(T <= 4) {\n'; lines 600000 '  %0 = nosuch %1'; printf '}\n'; } | ends "a graph with 600000 errors" E0902 opt %s
lines 400000 'graph f(T <= 4) {
}' | ends "400000 graphs" "more than 10000 graphs" opt %s
printf 'graph f(T <= 9223372036854775808) {\n}\n' | ends "a graph with a bound of 2^63" E0901 opt %s
printf 'graph f(T <= 4) {\n  %%4000000000 = input {name="x"} : f32[T]\n}\n' | ends "a graph with a large number" E0901 opt %s
printf 'graph f(T <= 4) {\n\377\n\0\n}\n' | ends "a graph with bytes that are no text" E0902 opt %s
shopt -u lastpipe
