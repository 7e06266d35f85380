export * from './AimeApi.js';
export * from './JobsApi.js';
export * from './MindsporeApi.js';
export * from './PredictApi.js';
export * from './RegistryApi.js';
export * from './SystemApi.js';
export * from './TracesApi.js';
