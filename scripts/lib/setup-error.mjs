/**
 * Set-up cannot continue; the message says what the user has to do. It is printed without a stack,
 * because it is not a bug in these scripts.
 */
export class SetupError extends Error {
  name = 'SetupError';
}

/** Runs `main`; a SetupError becomes its message on stderr and exit code 1. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`moonring: ${error.message}\n`);
    process.exitCode = 1;
  }
}
