import type {
  FeaturesResponse,
  Job,
  JobState,
  PredictionOptions,
  Predictor,
  PredictorCloseResponse,
  Problem,
  TensorDtype,
  Webhook,
} from "../../generated/javascript/dist/index.js";

export * from "../../generated/javascript/dist/index.js";

/** The server answered with a problem (RFC 9457), whose fields are in `problem`. */
export declare class ProblemError extends Error {
  readonly status: number;
  readonly problem: Partial<Problem>;
}

export interface OpenOptions extends PredictionOptions {
  /** The model's name, or `*`. */
  model?: string;
  /** A semver constraint, `latest` or `*`. */
  version?: string;
  /** The key for a server that asks for one. */
  key?: string;
}

/** An array that is ready for the model, without a batch dimension. */
export interface Tensor {
  shape: number[];
  data: ArrayLike<number> | Iterable<number>;
  dtype?: TensorDtype;
}

/** An image file: a Blob, its bytes, or text that is base64 already. */
export type ImageFile = Blob | ArrayBuffer | Uint8Array | string;

/** An open predictor. Inputs get their places as ids; all requests belong to the trace of `open`. */
export interface OpenPredictor {
  readonly id: string;
  readonly traceId: string | undefined;
  /** All that `open` answered. */
  readonly opened: Predictor;
  urls(urls: string[], options?: PredictionOptions): Promise<FeaturesResponse>;
  images(images: ImageFile[], options?: PredictionOptions): Promise<FeaturesResponse>;
  tensors(tensors: Tensor[], options?: PredictionOptions): Promise<FeaturesResponse>;
  dataset(category: string, name: string, options?: PredictionOptions): Promise<FeaturesResponse>;
  close(): Promise<PredictorCloseResponse>;
}

/** Opens a predictor on a model of the server at `url`. */
export declare function open(url: string, options?: OpenOptions): Promise<OpenPredictor>;

/** A job ended without a result: it failed, lapsed or was cancelled. */
export declare class JobFailed extends Error {
  readonly state: JobState;
}

export interface SubmitOptions extends PredictionOptions {
  /** The model's name, or `*`. */
  model?: string;
  /** A semver constraint, `latest` or `*`. */
  version?: string;
  /** An open predictor instead of a model. */
  predictor?: { id: string };
  /** The key for a server that asks for one. */
  key?: string;
  /** A name of the caller's for the job: submitting the same again under it gives the same job. */
  idempotencyKey?: string;
  terms?: { priority?: number; timeout_in_ms?: number; webhook?: Webhook };
  urls?: string[];
  images?: ImageFile[];
  tensors?: Tensor[];
  /** The dataset's category and name. */
  dataset?: [string, string];
}

export interface WaitOptions {
  /** Is called whenever something is heard of the job. */
  onProgress?: (job: SubmittedJob) => void;
  /** Ends the wait; the job goes on. */
  signal?: AbortSignal;
  /** How long the server may be away. */
  patienceMs?: number;
}

/** A job, as it was when something was heard of it last. */
export interface SubmittedJob {
  readonly id: string;
  readonly state: JobState;
  readonly percent: number;
  readonly hasEnded: boolean;
  /** All that is known of it. */
  readonly known: Job;
  refresh(): Promise<SubmittedJob>;
  wait(options?: WaitOptions): Promise<SubmittedJob>;
  result(options?: WaitOptions): Promise<FeaturesResponse>;
  cancel(): Promise<SubmittedJob>;
}

/** Queues a predict request as a job: exactly one of `urls`, `images`, `tensors` and `dataset`. */
export declare function submit(url: string, options: SubmitOptions): Promise<SubmittedJob>;

/** Returns a job by its id. */
export declare function job(url: string, jobId: string, options?: { key?: string }): Promise<SubmittedJob>;

/** Lists this caller's jobs, the newest first. */
export declare function jobs(
  url: string,
  options?: { key?: string; state?: JobState; limit?: number; before?: string },
): Promise<SubmittedJob[]>;
