// Runs the generated JavaScript client and the layer over it against a server; throws when an answer is wrong.
// usage: node life_cycle.mjs SERVER FILES IMAGE, where the image shows a 7 and FILES serves it too
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Configuration, PredictApi, RegistryApi, ResponseError } from "../../generated/javascript/dist/index.js";
import { open, ProblemError } from "../../clients/javascript/index.js";

const [server, files, path] = process.argv.slice(2);
const image = await readFile(path);
const url = `${files}/${basename(path)}`;

await generated();
await layer();
console.log("ok");

async function generated() {
  const configuration = new Configuration({ basePath: server });
  const api = new PredictApi(configuration);
  const { manifests } = await new RegistryApi(configuration).listModels({ modelName: "lenet" });
  assert.equal(manifests[0].name, "lenet");

  const opened = await api.openPredictor({
    predictorOpenRequest: {
      model_name: "lenet",
      options: { batch_size: 4, execution_options: { trace_level: "STEP_TRACE", timeout_in_ms: "60000", device_count: { GPU: 0 } } },
    },
  });
  assert.ok(opened.expires_at instanceof Date);
  const predictor = { id: opened.id };
  const images = [{ id: "seven", data: image.toString("base64") }, { id: "broken", data: "!" }];
  const answer = await api.predictImages({ imagesRequest: { predictor, images } });
  assert.equal(answer.responses[0].input_id, "seven");
  assert.equal(answer.responses[0].features[0].classification.label, "7");
  assert.equal(answer.responses[1].error.code, "base64_invalid");

  const tensors = [{ id: "t", shape: [1, 28, 28], data: Array(784).fill(0.5) }];
  const numbers = await api.predictTensors({ tensorsRequest: { predictor, tensors, options: { feature_limit: 0 } } });
  assert.equal(numbers.responses[0].features.length, 10);

  assert.equal((await api.closePredictor({ predictorCloseRequest: { predictor } })).id, opened.id);
  const second = api.closePredictor({ predictorCloseRequest: { id: opened.id } });
  await assert.rejects(second, (error) => error instanceof ResponseError && error.response.status === 404);
}

async function layer() {
  const predictor = await open(server, { model: "lenet", version: "latest", batch_size: 8 });
  const pictures = await predictor.images([image, new Blob([image]), image.toString("base64")], { feature_limit: 1 });
  assert.deepEqual(pictures.responses.map(({ features }) => features[0].classification.label), ["7", "7", "7"]);
  const fetched = await predictor.urls([url, ""]);
  assert.equal(fetched.responses[0].features[0].classification.label, "7");
  assert.equal(fetched.responses[1].error.code, "input_empty");
  assert.equal(fetched.trace_id.id, predictor.traceId);
  const arrays = await predictor.tensors([{ shape: [1, 28, 28], data: new Float32Array(784) }]);
  assert.equal(arrays.responses.length, 1);
  assert.equal((await predictor.dataset("vision", "digits", { feature_limit: 1 })).summary.count, 360);
  assert.equal((await predictor.close()).id, predictor.id);
  await assert.rejects(predictor.close(), (error) => error instanceof ProblemError && error.status === 404);
  await assert.rejects(open(server, { model: "lenett" }), (error) => error.problem.known.includes("lenet"));
  await assert.rejects(open("http://127.0.0.1:1"), /can't be reached/);
}
