import assert from 'node:assert/strict';
import { BasicClientSideCache, createClient } from 'redis';
import { ask, ok, run, until } from './steps.mjs';

const port = Number(process.argv[2]);

await run(async () => {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0, recordStats: true });
  const redis = createClient({ RESP: 3, socket: { port, host: '127.0.0.1' }, clientSideCache: cache });
  const other = createClient({ RESP: 3, socket: { port, host: '127.0.0.1' } });
  await redis.connect();
  await other.connect();

  assert.equal(await redis.set('node:k', 'v', { EX: 100 }), 'OK');
  assert.equal(await redis.get('node:k'), 'v');
  assert.equal(await redis.hSet('node:h', { a: '1', b: '2' }), 2);
  assert.deepEqual({ ...(await redis.hGetAll('node:h')) }, { a: '1', b: '2' });
  assert.equal(await redis.sAdd('node:s', ['a', 'b']), 2);
  assert.deepEqual((await redis.sMembers('node:s')).sort(), ['a', 'b']);
  assert.equal(await redis.zAdd('node:z', [{ score: 1.5, value: 'one' }]), 1);
  assert.deepEqual([...(await redis.zRangeWithScores('node:z', 0, -1))].map((e) => [e.value, e.score]), [['one', 1.5]]);
  ok('types');

  const replies = await Promise.all(Array.from({ length: 1000 }, () => redis.incr('node:n')));
  assert.equal(replies[999], 1000);
  ok('pipeline');

  assert.deepEqual(await redis.multi().set('node:m', '1').incr('node:m').exec(), ['OK', 2]);
  ok('multi');

  const popped = other.blPop('node:queue', 10);
  await redis.rPush('node:queue', 'job');
  assert.equal((await popped).element, 'job');
  ok('blocking');

  const listener = createClient({ socket: { port, host: '127.0.0.1' } });
  await listener.connect();
  let heard;
  await listener.subscribe('node:news', (message) => { heard = message; });
  await redis.publish('node:news', 'hello');
  await until('pubsub', () => heard === 'hello');

  // Read into the near cache, answered from it, then told of a commit that some SQL client made.
  assert.equal(JSON.parse(await redis.get('customers:2')).id, 2);
  const before = cache.stats().hitCount;
  assert.equal(JSON.parse(await redis.get('customers:2')).id, 2);
  assert.equal(cache.stats().hitCount, before + 1);
  ok('near cache');
  await ask('update');
  await until('row', async () => JSON.parse(await redis.get('customers:2')).name === 'changed');
});
