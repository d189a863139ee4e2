// offsets.mjs: ids and places of random strings' tokens, those of `sinter tokenizer encode --json` against Hugging Face's library (npm's @anush008/tokenizers is it,
// compiled). usage: node offsets.mjs NPM-DIR SINTER TOKENIZER.json N WORK-DIR
import {createRequire} from 'node:module';
import {writeFileSync} from 'node:fs';
import {execFileSync} from 'node:child_process';

const [npm, sinter, path, count, work] = process.argv.slice(2);
const {Tokenizer} = createRequire(npm + '/')('@anush008/tokenizers');
const theirs = Tokenizer.fromFile(path);
const parts = ['the', 'Hello', 'unaffable', 'caf\u00e9', 're\u0301sume\u0301', '\u4e2d\u6587', '\u{1F600}', '\u212bngstr\u00f6m', '\u216b', '\ufb01ne', 'e\u0301\u0323', '\u00a0', '\t', '\n', '  ', ' ', ' ', ' ',
	'.', "don't", 'na\u00efve', 'Stra\u00dfe', '\u0130stanbul', '\u200b', '\ud55c\uad6d\uc5b4', '\u1112\u1161\u11ab', 'x\u0300\u0301', '[MASK]', '<mask>', '</s>', '1234', '\u01c5', '\u017c\u00f3\u0142\u0107',
	'\u0928\u092e\u0938\u094d\u0924\u0947', '\u{1F469}\u200D\u{1F467}'];
let state = 7;
const random = n => (state = (state * 1103515245 + 12345) & 0x7fffffff, (state >> 8) % n);
const input = work + '/offsets.txt';
let failed = 0;
for (let i = 0; i < Number(count); i++) {
	let s = '';
	for (let k = 1 + random(8); k > 0; k--)
		s += parts[random(parts.length)];
	const want = await theirs.encode(s, null, {addSpecialTokens: true});
	writeFileSync(input, s);
	const got = JSON.parse(execFileSync(sinter, ['tokenizer', 'encode', '-t', path, '--json', input], {encoding: 'utf8'}));
	const same = (a, b) => JSON.stringify(Array.from(a)) === JSON.stringify(b);
	if (same(want.getIds(), got.ids) && same(want.getOffsets(), got.offsets))
		continue;
	if (failed++ < 5)
		console.log(JSON.stringify(s), '\n\ttheirs', JSON.stringify(want.getOffsets()), '\n\tours  ', JSON.stringify(got.offsets));
}
console.log(`offsets of ${path.split('/').pop()}: ${count} strings, ${failed} differ`);
process.exit(failed ? 1 : 0);
