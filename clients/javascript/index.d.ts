import type {
  FeaturesResponse,
  PredictionOptions,
  Predictor,
  PredictorCloseResponse,
  Problem,
  TensorDtype,
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
