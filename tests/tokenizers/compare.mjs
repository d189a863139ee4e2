// compare.mjs: ids and decoded texts of random Unicode strings, ours against npm's @huggingface/tokenizers.
// usage: node compare.mjs NPM-DIR TOKENS-TOOL TOKENIZER.json N WORK-DIR
// Where npm's library is known to differ from the Rust library that it follows, it is brought to that; strings with characters younger than
// PCRE2's Unicode are left out.
import {createRequire} from 'node:module';
import {readFileSync, writeFileSync} from 'node:fs';
import {execFileSync} from 'node:child_process';

const [npm, tool, path, count, work] = process.argv.slice(2);
const {Tokenizer, BertNormalizer, LowercaseNormalizer: Lowercase, PrecompiledNormalizer: Precompiled, WhitespaceSplitPreTokenizer: WhitespaceSplit} = createRequire(npm + '/')('@huggingface/tokenizers');
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

// --- what npm's library does as the Rust library does not, done as it does: BertNormalizer looks for ideographs by UTF-16 units and lowers by
// context (final sigma); blanks (\s, trim) have U+FEFF and lack U+0085; Precompiled is NFKC and a list, not the file's map.
const lower = s => Array.from(s, c => c.toLowerCase()).join('');
const ideograph = /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;
BertNormalizer.prototype.normalize = function (s) {
	const c = this.config;
	if (c.clean_text)
		s = Array.from(s).filter(x => x !== '\0' && x !== '\uFFFD' && (/[\t\n\r]/.test(x) || !/[\p{Cc}\p{Cf}\p{Co}]/u.test(x))).join('').replace(/\p{White_Space}/gu, ' ');
	if (c.handle_chinese_chars)
		s = s.replace(ideograph, ' $& ');
	if (c.strip_accents ?? c.lowercase)
		s = s.normalize('NFD').replace(/\p{Mn}/gu, '');
	return c.lowercase ? lower(s) : s;
};
Lowercase.prototype.normalize = lower;
WhitespaceSplit.prototype.pre_tokenize_text = s => s.match(/\P{White_Space}+/gu) ?? [];
String.prototype.trimStart = function () { return this.replace(/^\p{White_Space}+/u, ''); };
String.prototype.trimEnd = function () { return this.replace(/(?<!\p{White_Space})\p{White_Space}+$/u, ''); };

const segmenter = new Intl.Segmenter('en', {granularity: 'grapheme'});
Precompiled.prototype.normalize = function (s) {
	this.map ??= Buffer.from(this.config.precompiled_charsmap, 'base64');
	const map = this.map, size = map.readUInt32LE(0), text = map.subarray(4 + size);
	const unit = i => map.readUInt32LE(4 + 4 * i), offset = u => (u >>> 10) << ((u & 512) >>> 6);
	function find(bytes) {  // what the shortest prefix stands for
		let at = offset(unit(0));
		for (const b of bytes) {
			at ^= b;
			if (b === 0 || (unit(at) & 0x800000FF) !== b)
				return null;
			const u = unit(at);
			at ^= offset(u);
			if (u >>> 8 & 1) {
				const from = unit(at) & 0x7FFFFFFF;
				return text.subarray(from, text.indexOf(0, from)).toString();
			}
		}
		return null;
	}
	let out = '';
	for (const {segment} of segmenter.segment(s)) {
		const bytes = Buffer.from(segment);
		const whole = bytes.length < 6 ? find(bytes) : null;
		out += whole ?? Array.from(segment, c => find(Buffer.from(c)) ?? c).join('');
	}
	return out;
};

// Characters that Node's Unicode has and PCRE2's has not yet.
const unassigned = execFileSync(tool, ['byte', '-u', '/'], {encoding: 'utf8'}).trim().split('\n').map(l => l.split(' ').map(x => parseInt(x, 16)));
const young = new Set();
for (const [from, to] of unassigned)
	for (let c = from; c <= to; c++)
		if (!/\p{Cn}/u.test(String.fromCodePoint(c)))
			young.add(c);
const comparable = s => !Array.from(s).some(c => young.has(c.codePointAt(0)));

const texts = [];
while (texts.length < N) {
	const s = text().toWellFormed();
	if (comparable(s))
		texts.push(s);
}
writeFileSync(work + '/texts.jsonl', texts.map(s => JSON.stringify(s) + '\n').join(''));
const out = execFileSync(tool, [path, work + '/texts.jsonl'], {maxBuffer: 1 << 30, encoding: 'utf8'}).split('\n');
const theirs = new Tokenizer(json, {clean_up_tokenization_spaces: false});
if (theirs.pre_tokenizer?.use_regex)
	theirs.pre_tokenizer.pattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
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
