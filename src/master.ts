#!/usr/bin/env node
import { runProgram } from './master/cli/program.js';

const { argv, env } = process;
process.exit(await runProgram({ argv: argv.slice(2), env, cwd: process.cwd() }));
