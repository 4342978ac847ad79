/**
 * What can go wrong while a container is made. The codes are the reasons that Kubernetes shows for a waiting container,
 * so that an error needs no translation on its way to the pod's status.
 */
import { EngineError } from '#engine/engine.ts';

export type AgentErrorCode =
  | 'CreateContainerConfigError' // a reference (ConfigMap, Secret, field, volume) that cannot be resolved now
  | 'FailedMount' // a volume that cannot be prepared now: told by an event, the pod waits
  | 'CreateContainerError' // the engine refused to make the container
  | 'RunContainerError' // it was made, and did not start
  | 'InvalidImageName'
  | 'ErrImagePull'
  | 'ErrImageNeverPull' // policy `Never`, and the image is not here
  | 'PodRefused' // asks for what this node does not give to pods
  | 'Invalid'; // a value of ours or of the API that has no meaning

export class AgentError extends Error {
  readonly code: AgentErrorCode;
  constructor(code: AgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AgentError';
    this.code = code;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True where the error is the system's, with one of the codes. */
export function hasErrorCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** What was asked for ended or was removed in the meantime. */
export function isNotFound(error: unknown): boolean {
  return error instanceof EngineError && (error.code === 'not-found' || error.code === 'conflict');
}
