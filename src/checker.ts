import { runHandlerCheck } from './reactor/check.js';

process.exit(await runHandlerCheck(process.argv[2] ?? ''));
