/** Words to the person who pushes, in the form that Cloud Foundry users know. */
export function step(message: string): void {
  process.stdout.write(`-----> ${message}\n`);
}

export function detail(message: string): void {
  process.stdout.write(`       ${message}\n`);
}

export function warning(message: string): void {
  process.stdout.write(` !     ${message}\n`);
}

/** A mistake in the app, told without a stack trace. */
export class AppError extends Error {}
