/**
 * The JavaScript client of Stepscope: the generated one, a short way to open, predict and close, and jobs.
 * For browsers and Node 20 or later; no dependencies.
 */
import { Configuration, FetchError, JobFromJSON, JobsApi, PredictApi, ResponseError } from "../../generated/javascript/dist/index.js";

export * from "../../generated/javascript/dist/index.js";

const ENDED = ["done", "failed", "lapsed", "cancelled"];
/** How long a server may be away while one of its jobs is waited for. */
const PATIENCE_MS = 120_000;
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** How long a stream may be silent; the server shows a sign of life every ten seconds. */
const SILENCE_MS = 30_000;
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

/** A job ended without a result: it failed, lapsed or was cancelled. */
export class JobFailed extends Error {
  constructor({ id, state, error }) {
    super(`Job ${id} ${state === "cancelled" ? "was cancelled" : state}${error ? `: ${error}` : "."}`);
    this.name = "JobFailed";
    this.state = state;
  }
}

/** Opens a predictor on a model of the server at `url`. */
export async function open(url, { model = "*", version = "*", key, ...options } = {}) {
  const api = new PredictApi(configured(url, key));
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

/**
 * Queues a predict request as a job of the server at `url`: exactly one of `urls`, `images`, `tensors` and `dataset`
 * (a category and a name), which are as the predictor's methods take them.
 */
export async function submit(url, { model = "*", version = "*", predictor, key, idempotencyKey, terms, urls, images, tensors, dataset, ...options }) {
  const kinds = { urls, images, tensors, dataset };
  const [kind, another] = Object.keys(kinds).filter((name) => kinds[name] !== undefined);
  if (kind === undefined || another !== undefined) throw new TypeError("A job takes exactly one of urls, images, tensors and dataset.");
  const from = predictor ? { predictor: { id: predictor.id } } : { model: { model_name: model, model_version: version } };
  const jobRequest = { kind, [kind]: await written(kind, kinds[kind]), ...from, ...terms, options };
  const configuration = configured(url, key);
  // Sent again under the same key, a request makes no second job.
  const request = { jobRequest, idempotencyKey: idempotencyKey ?? crypto.randomUUID() };
  const api = new JobsApi(configuration);
  const known = await told(() => api.submitJob(request)).catch((fault) => {
    if (fault instanceof ProblemError) throw fault;
    return told(() => api.submitJob(request));
  });
  return new SubmittedJob(configuration, known);
}

/** Returns a job of the server at `url` by its id. */
export async function job(url, jobId, { key } = {}) {
  const configuration = configured(url, key);
  return new SubmittedJob(configuration, await told(() => new JobsApi(configuration).getJob({ jobId })));
}

/** Lists this caller's jobs, the newest first. */
export async function jobs(url, { key, ...query } = {}) {
  const configuration = configured(url, key);
  const found = await told(() => new JobsApi(configuration).listJobs(query));
  return found.jobs.map((known) => new SubmittedJob(configuration, known));
}

/** A job, as it was when something was heard of it last. */
class SubmittedJob {
  #api;
  #configuration;
  #lastEvent = "";

  constructor(configuration, known) {
    this.#configuration = configuration;
    this.#api = new JobsApi(configuration);
    this.known = known;
  }

  get id() {
    return this.known.id;
  }

  get state() {
    return this.known.state;
  }

  get percent() {
    return this.known.percent;
  }

  get hasEnded() {
    return ENDED.includes(this.known.state);
  }

  /** Asks the server how it is. */
  async refresh() {
    this.known = await told(() => this.#api.getJob({ jobId: this.id }));
    return this;
  }

  /** Waits until it has ended, however it does; a server that is away is waited for. */
  async wait({ onProgress = () => {}, signal, patienceMs = PATIENCE_MS } = {}) {
    onProgress(this);
    while (!this.hasEnded) {
      await this.#listen(onProgress, signal);
      if (this.hasEnded) break;
      await this.#ask(signal, patienceMs);
      onProgress(this);
    }
    return this;
  }

  /** Waits until it has ended, and returns what the predict request would have answered. */
  async result(options) {
    await this.wait(options);
    if (this.state !== "done") throw new JobFailed(this.known);
    return told(() => this.#api.getJobResult({ jobId: this.id }));
  }

  /** Ends it. One that has ended stays as it is. */
  async cancel() {
    this.known = await told(() => this.#api.cancelJob({ jobId: this.id }));
    return this;
  }

  /** Follows its events as long as they come. */
  async #listen(onProgress, signal) {
    const silence = new AbortController();
    const abort = () => silence.abort(signal.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      heard();
      for await (const { id, data } of this.#events(silence.signal, heard)) {
        this.#lastEvent = id;
        this.known = JobFromJSON(JSON.parse(data));
        onProgress(this);
      }
    } catch (fault) {
      signal?.throwIfAborted();
      if (!isBroken(fault, silence.signal)) throw fault;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      silence.abort();
    }
  }

  async *#events(signal, heard) {
    const key = this.#configuration.accessToken;
    const headers = { Accept: "text/event-stream" };
    if (key) headers.Authorization = `Bearer ${await key()}`;
    if (this.#lastEvent) headers["Last-Event-ID"] = this.#lastEvent;
    const path = `${this.#configuration.basePath}/api/jobs/${encodeURIComponent(this.id)}/events`;
    const answer = await fetch(path, { headers, signal });
    if (!answer.ok) return; // the server says why when it is asked how the job is
    yield* readEvents(answer.body, heard);
  }

  /** Asks how it is, again and again while the server is away. */
  async #ask(signal, patienceMs) {
    const goneAt = Date.now();
    for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random() / 2)));
      signal?.throwIfAborted();
      try {
        return await this.refresh();
      } catch (fault) {
        const isAway = !(fault instanceof ProblemError) || fault.status === 503 || fault.status === 429;
        if (!isAway || Date.now() - goneAt > patienceMs) throw fault;
      }
    }
  }
}

/** Yields the events that a stream of bytes holds. */
async function* readEvents(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").map((line) => line.split(/: ?(.*)/s));
      const event = Object.fromEntries(lines.map(([name, text]) => [name, text ?? ""]));
      if (event.data !== undefined) yield event;
    }
  }
}

function isBroken(fault, silence) {
  return silence.aborted || fault instanceof TypeError; // what fetch and its streams throw when a connection breaks
}

/** Returns a job's inputs as the contract has them. */
async function written(kind, given) {
  if (kind === "dataset") return { category: given[0], name: given[1] };
  const writers = {
    urls: (data) => ({ data }),
    images: async (image) => ({ data: await base64(image) }),
    tensors: (tensor) => ({ ...tensor, data: Array.from(tensor.data) }),
  };
  return Promise.all(given.map(async (item, place) => ({ id: String(place), ...(await writers[kind](item)) })));
}

function configured(url, key) {
  return new Configuration({ basePath: url.replace(/\/+$/, ""), accessToken: key });
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
