// Runs jobs with the JavaScript client against a server; throws when an answer is wrong.
// usage: node jobs.mjs SERVER FILES IMAGE, where the image shows a 7 and FILES serves it too
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { job, JobFailed, jobs, open, ProblemError, submit } from "../../clients/javascript/index.js";

const [server, files, path] = process.argv.slice(2);
const image = await readFile(path);

const heard = [];
const submitted = await submit(server, { model: "lenet", images: [image], feature_limit: 1 });
const answer = await submitted.result({ onProgress: ({ state, percent }) => heard.push([state, percent]) });
assert.equal(answer.responses[0].features[0].classification.label, "7");
assert.deepEqual(heard.at(-1), ["done", 100]);
assert.equal((await job(server, submitted.id)).state, "done");
assert.deepEqual((await jobs(server, { limit: 1 })).map(({ id }) => id), [submitted.id]);

const byUrl = await submit(server, { model: "lenet", urls: [`${files}/${basename(path)}`] });
assert.equal((await byUrl.result()).responses[0].features[0].classification.label, "7");

const predictor = await open(server, { model: "lenet" });
const numbers = { shape: [1, 28, 28], data: new Float32Array(784).fill(0.5) };
const waited = await predictor.tensors([numbers]);
const done = await (await submit(server, { predictor, tensors: [numbers] })).result();
assert.equal(done.responses[0].features[0].classification.label, waited.responses[0].features[0].classification.label);
assert.ok((await (await submit(server, { model: "lenet", dataset: ["vision", "digits"] })).result()).summary);

const first = await submit(server, { model: "lenet", images: [image], idempotencyKey: "from javascript" });
const again = await submit(server, { model: "lenet", images: [image], idempotencyKey: "from javascript" });
assert.equal(first.id, again.id);

const long = await submit(server, { model: "lenet", images: Array(4000).fill(image), batch_size: 1 });
await assert.rejects(long.wait({ signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
assert.equal((await long.cancel()).state, "cancelled");
await assert.rejects(long.result(), (fault) => fault instanceof JobFailed && /was cancelled/.test(fault.message));

await assert.rejects(submit(server, { model: "lenet" }), TypeError);
await assert.rejects(job(server, "nobody"), (fault) => fault instanceof ProblemError && fault.status === 404);
console.log("ok");
