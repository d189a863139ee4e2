// Runs an ONNX model by onnxruntime-node: prints the mean ms of a call, and writes what the first one returned.
// usage: node ort.js DIR-OF-NODE_MODULES MODEL INPUTS BATCH T CALLS THREADS OUT      INPUTS: JSON, name -> int32 numbers (BATCH*T)
const [modules, model, inputs, batch, tokens, calls, threads, out] = process.argv.slice(2);
const ort = require(require('path').join(modules, 'onnxruntime-node'));
const fs = require('fs');

async function main() {
	const session = await ort.InferenceSession.create(model, {
		intraOpNumThreads: +threads, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all', logSeverityLevel: 3,
	});
	const feeds = {};
	for (const [name, numbers] of Object.entries(JSON.parse(fs.readFileSync(inputs))))
		feeds[name] = new ort.Tensor('int32', Int32Array.from(numbers), [+batch, +tokens]);
	const first = (await session.run(feeds))[session.outputNames[0]].data;
	fs.writeFileSync(out, Buffer.from(first.buffer, first.byteOffset, first.byteLength));
	await session.run(feeds);
	const began = process.hrtime.bigint();
	for (let i = 0; i < +calls; i++)
		await session.run(feeds);
	console.log(Number(process.hrtime.bigint() - began) / 1e6 / +calls);
}

main().catch((e) => {
	console.error(String(e));
	process.exit(1);
});
