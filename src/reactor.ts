import { runReactor } from './reactor/run.js';

process.exit(await runReactor());
