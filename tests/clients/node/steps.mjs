// What both clients are put through: each step prints its name when it has held. See ../clients.py.
import assert from 'node:assert/strict';
import readline from 'node:readline';

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export function ok(step) {
  console.log(`ok ${step}`);
}

// Tells the test to do something, and waits until it has.
export async function ask(what) {
  console.log(`ask ${what}`);
  await answers.next();
}

export async function until(step, condition) {
  const deadline = Date.now() + 15000;
  while (!(await condition())) {
    assert(Date.now() < deadline, `${step}: not in 15 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  ok(step);
}

export async function run(steps) {
  try {
    await steps();
    console.log('done');
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
