import assert from 'node:assert/strict';
import Redis from 'ioredis';
import { ask, ok, run, until } from './steps.mjs';

const port = Number(process.argv[2]);

await run(async () => {
  const redis = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 0 });
  const other = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 0 });

  assert.equal(await redis.set('io:k', 'v', 'EX', 100), 'OK');
  assert.equal(await redis.get('io:k'), 'v');
  assert.equal(await redis.hset('io:h', { a: 1, b: 2 }), 2);
  assert.deepEqual(await redis.hgetall('io:h'), { a: '1', b: '2' });
  assert.equal(await redis.rpush('io:l', 1, 2, 3), 3);
  assert.deepEqual(await redis.lrange('io:l', 0, -1), ['1', '2', '3']);
  assert.equal(await redis.zadd('io:z', 1, 'one', 2, 'two'), 2);
  assert.deepEqual(await redis.zrange('io:z', 0, -1, 'WITHSCORES'), ['one', '1', 'two', '2']);
  ok('types');

  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i++) pipeline.incr('io:n');
  const replies = await pipeline.exec();
  assert.deepEqual(replies[999], [null, 1000]);
  ok('pipeline');

  assert.deepEqual(await redis.multi().set('io:m', '1').incr('io:m').get('io:m').exec(), [[null, 'OK'], [null, 2], [null, '2']]);
  ok('multi');

  const popped = other.blpop('io:queue', 10);
  await redis.rpush('io:queue', 'job');
  assert.deepEqual(await popped, ['io:queue', 'job']);
  ok('blocking');

  const heard = new Promise((resolve) => other.on('message', (channel, message) => resolve([channel, message])));
  await other.subscribe('io:news');
  await redis.publish('io:news', 'hello');
  assert.deepEqual(await heard, ['io:news', 'hello']);
  ok('pubsub');

  assert.equal(JSON.parse(await redis.get('customers:1')).id, 1);
  await ask('update');
  await until('row', async () => (await redis.hget('customers:1', 'name')) === 'changed');
});
