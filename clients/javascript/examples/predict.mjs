// Says which digit a picture shows:  node predict.mjs seven.png [http://127.0.0.1:8080]
import { readFile } from "node:fs/promises";
import { open } from "../index.js";

const [path, server = "http://127.0.0.1:8080"] = process.argv.slice(2);
if (!path) {
  console.error("usage: node predict.mjs IMAGE [SERVER]");
  process.exit(2);
}

try {
  console.log(await predict(path, server));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

async function predict(path, server) {
  const image = await readFile(path);
  const predictor = await open(server, { model: "lenet" });
  try {
    const [answer] = (await predictor.images([image], { feature_limit: 1 })).responses;
    if (answer.error) throw new Error(answer.error.message);
    const [best] = answer.features;
    return `${best.classification.label} (${(best.probability * 100).toFixed(1)} %)`;
  } finally {
    await predictor.close();
  }
}
