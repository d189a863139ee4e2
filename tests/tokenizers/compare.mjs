// compare.mjs: ids and decoded texts of random Unicode strings, ours against npm's @huggingface/tokenizers.
// usage: node compare.mjs NPM-DIR TOKENS-TOOL TOKENIZER.json N WORK-DIR
// Where npm's library is known to differ from the Rust library it follows (docs/runtime.md lists where), strings are left alone or npm's
// text is brought to the Rust library's first: `rust` below says what is done.
import {createRequire} from 'node:module';
import {readFileSync, writeFileSync} from 'node:fs';
import {execFileSync} from 'node:child_process';

const [npm, tool, path, count, work] = process.argv.slice(2);
const {Tokenizer} = createRequire(npm + '/')('@huggingface/tokenizers');
const json = JSON.parse(readFileSync(path, 'utf8'));
const N = Number(count);

let state = 12345n;
function random(n) {  // splitmix64
	state = (state + 0x9E3779B97F4A7C15n) & 0xFFFFFFFFFFFFFFFFn;
	let z = state;
	z = ((z ^ (z >> 30n)) * 0xBF58476D1CE4E5B9n) & 0xFFFFFFFFFFFFFFFFn;
	z = ((z ^ (z >> 27n)) * 0x94D049BB133111EBn) & 0xFFFFFFFFFFFFFFFFn;
	return Number((z ^ (z >> 31n)) % BigInt(n));
}
const pick = list => list[random(list.length)];
const words = readFileSync(new URL('words.txt', import.meta.url), 'utf8').split('\n').filter(Boolean);
const between = (a, b) => String.fromCodePoint(a + random(b - a + 1));
const special = json.added_tokens.map(t => t.content);
const parts = [
	() => pick(words), () => pick(words) + ' ', () => pick(words) + ' ', () => ' ' + pick(words), () => pick(words).toUpperCase(),
	() => between(0x20, 0x7E), () => String(random(100000)), () => pick([' ', '  ', '\n', '\t', '\r\n', '\n\n', '   ', '\u00a0', '\u3000', '\u2028', '\u200b', '\ufeff']),
	() => between(0xA1, 0x24F), () => between(0x300, 0x36F), () => 'e' + between(0x300, 0x345), () => between(0x370, 0x52F), () => between(0x590, 0x6FF),
	() => between(0x900, 0xDFF), () => between(0xE00, 0xFFF), () => between(0x1100, 0x11FF), () => between(0x1E00, 0x1FFF), () => between(0x2000, 0x206F),
	() => between(0x2070, 0x2BFF), () => between(0x3040, 0x30FF), () => between(0x3100, 0x33FF), () => between(0x3400, 0x9FFF), () => between(0xAC00, 0xD7A3),
	() => between(0xE000, 0xF8FF), () => between(0xF900, 0xFFFF), () => between(0x10000, 0x1FFFF), () => between(0x1F300, 0x1FAFF), () => '\u{1F469}\u200D\u{1F467}',
	() => between(0x1F1E6, 0x1F1FF) + between(0x1F1E6, 0x1F1FF), () => between(0x20000, 0x323AF), () => between(0xE0000, 0xE01EF), () => between(0x0, 0x1F), () => between(0x7F, 0xA0),
	() => pick(special), () => pick(special) + ' ', () => ' ' + pick(special), () => pick(['a', '.', '1', '\u4e2d', '\u{1F600}', '\u0301', ' ', '\u2581']).repeat(1 + random(120)),
	() => pick(["'s", "'t", "'re", "don't", "I'm", ' do not', ' .', ' ?', ' ,', " ' "]), () => '\u2581' + pick(words),
];
function text() {
	let s = '';
	for (let n = 1 + random(8); n > 0; n--) {
		const part = pick(parts);
		for (let k = random(4) === 0 ? random(6) : 1; k > 0; k--)
			s += part();
	}
	return s;
}

// What npm's library is not asked, or asked so that it does as the Rust library.
const young = /[\u{1C89}\u{1C8A}]|\p{Unassigned}/u;
const kinds = JSON.stringify([json.normalizer, json.pre_tokenizer, json.model.type]);
const bert = kinds.includes('BertNormalizer'), charsmap = kinds.includes('Precompiled');
function comparable(s) {
	return true;
}

const texts = [];
while (texts.length < N) {
	const s = text().toWellFormed();
	if (comparable(s))
		texts.push(s);
}
writeFileSync(work + '/texts.jsonl', texts.map(s => JSON.stringify(s) + '\n').join(''));
const out = execFileSync(tool, [path, work + '/texts.jsonl'], {maxBuffer: 1 << 30, encoding: 'utf8'}).split('\n');
const theirs = new Tokenizer(json, {clean_up_tokenization_spaces: false});
let ids = 0, decoded = 0, shown = 0;
for (let i = 0; i < N; i++) {
	const ours = JSON.parse(out[i]);
	const enc = theirs.encode(texts[i]).ids;
	const same = enc.length === ours.ids.length && enc.every((id, k) => id === ours.ids[k]);
	const back = same && ours.ids.length ? theirs.decode(ours.ids, {clean_up_tokenization_spaces: false}) : ours.text;
	ids += !same;
	decoded += same && back !== ours.text;
	if ((!same || back !== ours.text) && shown++ < Number(process.env.SHOW ?? 5)) {
		console.log('  text   ' + JSON.stringify(texts[i]) + ' ' + [...texts[i]].map(c => c.codePointAt(0).toString(16)).join(' '));
		console.log('  ours   ' + (same ? JSON.stringify(ours.text) : ours.ids.join(' ')));
		console.log('  npm    ' + (same ? JSON.stringify(back) : enc.join(' ')));
	}
}
console.log(`${path.split('/').pop()}: ${N} strings, ${ids} with other ids, ${decoded} with other texts`);
process.exit(ids || decoded ? 1 : 0);
