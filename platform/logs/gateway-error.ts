/** An error as the log cache's gateway answers it: an HTTP status beside one of gRPC. */
export class GatewayError extends Error {
  readonly status: number;
  readonly grpc: number;
  constructor(status: number, grpc: number, message: string) {
    super(message);
    this.name = 'GatewayError';
    this.status = status;
    this.grpc = grpc;
  }
}

export const notFound = (): GatewayError => new GatewayError(404, 5, 'Not Found');
export const invalid = (message: string): GatewayError => new GatewayError(400, 3, message);
