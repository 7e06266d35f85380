/**
 * The JavaScript client of Stepscope: the generated one, and a short way to open, predict and close.
 * For browsers and Node 20 or later; no dependencies.
 */
import { Configuration, FetchError, PredictApi, ResponseError } from "../../generated/javascript/dist/index.js";

export * from "../../generated/javascript/dist/index.js";

const TRACE_HEADERS = ["X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled"];

/** The server answered with a problem (RFC 9457), whose fields are in `problem`. */
export class ProblemError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The server answered ${status} without a reason.`);
    this.name = "ProblemError";
    this.status = status;
    this.problem = problem;
  }
}

/** Opens a predictor on a model of the server at `url`. */
export async function open(url, { model = "*", version = "*", key, ...options } = {}) {
  const configuration = new Configuration({ basePath: url.replace(/\/+$/, ""), accessToken: key });
  const api = new PredictApi(configuration);
  const predictorOpenRequest = { model_name: model, model_version: version, options };
  const answer = await told(() => api.openPredictorRaw({ predictorOpenRequest }));
  return new OpenPredictor(api, await answer.value(), answer.raw.headers);
}

/** An open predictor. Inputs get their places as ids; all requests belong to the trace of `open`. */
class OpenPredictor {
  #api;
  #trace;

  constructor(api, opened, headers) {
    this.#api = api;
    this.#trace = Object.fromEntries(TRACE_HEADERS.map((name) => [name, headers.get(name)]).filter(([, value]) => value));
    this.opened = opened;
    this.id = opened.id;
    this.traceId = opened.trace_id.id;
  }

  /** Predicts images that the server fetches. */
  async urls(urls, options) {
    const items = urls.map((data, place) => ({ id: String(place), data }));
    return this.#send("predictUrls", { urlsRequest: { predictor: { id: this.id }, urls: items, options } });
  }

  /** Predicts JPEG, PNG or WebP files: Blobs, buffers, or text that is base64 already. */
  async images(images, options) {
    const items = await Promise.all(images.map(async (image, place) => ({ id: String(place), data: await base64(image) })));
    return this.#send("predictImages", { imagesRequest: { predictor: { id: this.id }, images: items, options } });
  }

  /** Predicts arrays that are ready for the model: `{ shape, data, dtype? }` each, without a batch dimension. */
  async tensors(tensors, options) {
    const items = tensors.map((tensor, place) => ({ id: String(place), ...tensor, data: Array.from(tensor.data) }));
    return this.#send("predictTensors", { tensorsRequest: { predictor: { id: this.id }, tensors: items, options } });
  }

  /** Predicts a dataset that the server holds; the answer has a `summary`. */
  async dataset(category, name, options) {
    const datasetRequest = { predictor: { id: this.id }, dataset: { category, name }, options };
    return this.#send("predictDataset", { datasetRequest });
  }

  /** Closes the predictor. */
  async close() {
    return this.#send("closePredictor", { predictorCloseRequest: { predictor: { id: this.id } } });
  }

  #send(operation, request) {
    const joinTrace = async ({ init }) => ({ headers: { ...init.headers, ...this.#trace } });
    return told(() => this.#api[operation](request, joinTrace));
  }
}

/** Runs a call of the generated client, and turns its errors into ones that say what the server says. */
async function told(call) {
  try {
    return await call();
  } catch (error) {
    if (error instanceof FetchError) throw unreachable(error);
    if (!(error instanceof ResponseError)) throw error;
    const problem = await error.response.json().catch(() => ({}));
    throw new ProblemError(error.response.status, problem);
  }
}

function unreachable({ cause }) {
  // Browsers don't tell pages why; Node does, one level deeper.
  const reason = cause?.cause?.message || cause?.cause?.code || cause?.message;
  return new Error(`The server can't be reached: ${reason}.`, { cause });
}

async function base64(image) {
  if (typeof image === "string") return image;
  const bytes = new Uint8Array(image instanceof Blob ? await image.arrayBuffer() : image);
  const letters = [];
  // In parts: a call takes only so many arguments.
  for (let start = 0; start < bytes.length; start += 0x8000) {
    letters.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  }
  return btoa(letters.join(""));
}
