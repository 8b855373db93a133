// Starts attackers in processes of their own, so that the normal client is not slowed down by them.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { BENCH } from '../lib/programs.mjs';

const TIMEOUT_MS = 120_000;

/**
 * Starts an attack with `processes` processes that share `count`. Resolves when all are ready, to
 * { end, done }: `end()` tells them to end, `done` resolves to the sums of their figures.
 */
export async function startAttack(attack, { processes = 1, count, ...options }) {
  const children = Array.from({ length: processes }, () => fork(join(BENCH, 'abuse/attacker.mjs')));
  const runs = children.map((child) => follow(child));
  children.forEach((child, i) => {
    const share = Math.floor(count / processes) + (i < count % processes ? 1 : 0);
    child.send({ attack, count: share, ...options });
  });
  const timer = setTimeout(() => {
    for (const child of children) child.kill('SIGKILL');
  }, TIMEOUT_MS);
  const done = Promise.all(runs.map((run) => run.done)).then(sum);
  done.catch(() => {}).finally(() => clearTimeout(timer));
  await Promise.all(runs.map((run) => run.ready));
  const end = () => {
    for (const child of children) {
      if (child.connected) child.send({ type: 'end' });
    }
  };
  return { end, done };
}

/** Starts an attack that ends by itself, and waits for that. */
export async function runAttack(attack, options) {
  const { done } = await startAttack(attack, options);
  return done;
}

function follow(child) {
  const done = new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.type === 'done') resolve(message);
    });
    once(child, 'exit').then(([code, signal]) => {
      reject(new Error(`An attacker ended with ${code ?? signal}.`));
    }, reject);
  });
  const isReady = new Promise((resolve) => {
    child.on('message', (message) => {
      if (message.type === 'ready') resolve();
    });
  });
  return { done, ready: Promise.race([isReady, done]) };
}

function sum(all) {
  const total = {};
  for (const { type, ...figures } of all) {
    for (const [name, value] of Object.entries(figures)) total[name] = (total[name] ?? 0) + value;
  }
  return total;
}
