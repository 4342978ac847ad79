/** One CSI driver's node service. Errors are the driver's own words, with its status by name, as a kubelet shows them. */
import { type Grpc, GrpcError, openGrpc } from '#lib/grpc.ts';
import type { ProtobufWriter } from '#lib/protobuf.ts';
import { AgentError, messageOf } from '../errors.ts';
import type { VolumeUse } from './csi.ts';
import {
  empty,
  type ExpandRequest,
  expandRequest,
  type NodeInfo,
  type PublishRequest,
  publishRequest,
  readCapabilities,
  readNodeInfo,
  readUse,
  type StageRequest,
  stageRequest,
  statsRequest,
  unpublishRequest,
  unstageRequest,
} from './messages.ts';

/** As a kubelet waits. */
const CALL_MILLISECONDS = 120_000;
const ASK_MILLISECONDS = 15_000;
const USE_MILLISECONDS = 2_000;

/** https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
const STATUS = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

export class CsiDriver {
  readonly name: string;
  readonly #grpc: Grpc;
  #capabilities: Promise<Set<number>> | undefined;

  constructor(name: string, socketPath: string) {
    this.name = name;
    this.#grpc = openGrpc({ endpoints: [`unix:${socketPath}`] });
  }

  async nodeInfo(): Promise<NodeInfo> {
    return readNodeInfo(await this.#call('NodeGetInfo', empty(), ASK_MILLISECONDS));
  }

  async can(capability: number): Promise<boolean> {
    this.#capabilities ??= this.#call('NodeGetCapabilities', empty(), ASK_MILLISECONDS).then(readCapabilities);
    try {
      return (await this.#capabilities).has(capability);
    } catch (error) {
      this.#capabilities = undefined;
      throw error;
    }
  }

  async stage(request: StageRequest): Promise<void> {
    await this.#call('NodeStageVolume', stageRequest(request));
  }

  async unstage(volumeId: string, stagingPath: string): Promise<void> {
    await this.#call('NodeUnstageVolume', unstageRequest(volumeId, stagingPath));
  }

  async publish(request: PublishRequest): Promise<void> {
    await this.#call('NodePublishVolume', publishRequest(request));
  }

  async unpublish(volumeId: string, targetPath: string): Promise<void> {
    await this.#call('NodeUnpublishVolume', unpublishRequest(volumeId, targetPath));
  }

  async expand(request: ExpandRequest): Promise<void> {
    await this.#call('NodeExpandVolume', expandRequest(request));
  }

  /** Whoever reads how full volumes are asks often, and waits for all. */
  async use(volumeId: string, volumePath: string, stagingPath: string | undefined): Promise<VolumeUse> {
    const request = statsRequest(volumeId, volumePath, stagingPath);
    return readUse(await this.#call('NodeGetVolumeStats', request, USE_MILLISECONDS));
  }

  close(): void {
    this.#grpc.close();
  }

  async #call(method: string, request: ProtobufWriter, milliseconds = CALL_MILLISECONDS): Promise<Buffer> {
    try {
      return await this.#grpc.call(`/csi.v1.Node/${method}`, request, { milliseconds });
    } catch (error) {
      throw failure(error);
    }
  }
}

/** In a kubelet's words. */
export function failure(error: unknown): AgentError {
  const text =
    error instanceof GrpcError
      ? `rpc error: code = ${STATUS[error.status] ?? error.status} desc = ${error.message}`
      : messageOf(error);
  return new AgentError('FailedMount', text, { cause: error });
}
