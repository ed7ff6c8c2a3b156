import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.UnifiedJedis;
import redis.clients.jedis.csc.Cache;
import redis.clients.jedis.csc.CacheConfig;
import redis.clients.jedis.csc.CacheFactory;

/** Each step prints its name when it has held. */
public class Check {
    static void equal(Object got, Object want) {
        if (!want.equals(got)) throw new AssertionError("got " + got + ", want " + want);
    }

    static void types(Jedis jedis) {
        equal(jedis.set("java:k", "v"), "OK");
        equal(jedis.get("java:k"), "v");
        equal(jedis.hset("java:h", Map.of("a", "1", "b", "2")), 2L);
        equal(jedis.hgetAll("java:h"), Map.of("a", "1", "b", "2"));
        equal(jedis.rpush("java:l", "1", "2", "3"), 3L);
        equal(jedis.lrange("java:l", 0, -1), List.of("1", "2", "3"));
        equal(jedis.zadd("java:z", 1.5, "one"), 1L);
        equal(jedis.zrangeWithScores("java:z", 0, -1).get(0).getScore(), 1.5);
        System.out.println("ok types");
    }

    static void pipeline(Jedis jedis) {
        var pipeline = jedis.pipelined();
        redis.clients.jedis.Response<Long> last = null;
        for (int i = 0; i < 1000; i++) last = pipeline.incr("java:n");
        pipeline.sync();
        equal(last.get(), 1000L);
        System.out.println("ok pipeline");
        var multi = jedis.multi();
        multi.set("java:m", "1");
        multi.incr("java:m");
        equal(multi.exec(), List.of("OK", 2L));
        System.out.println("ok multi");
    }

    static void waiting(Jedis jedis, int port) throws Exception {
        var popped = CompletableFuture.supplyAsync(() -> {
            try (var other = new Jedis("127.0.0.1", port)) {
                return other.blpop(10, "java:queue");
            }
        });
        jedis.rpush("java:queue", "job");
        equal(popped.get(15, TimeUnit.SECONDS), List.of("java:queue", "job"));
        System.out.println("ok blocking");

        var subscribed = new CountDownLatch(1);
        var heard = new CompletableFuture<String>();
        var listener = new Thread(() -> {
            try (var other = new Jedis("127.0.0.1", port)) {
                other.subscribe(new JedisPubSub() {
                    @Override public void onSubscribe(String channel, int n) { subscribed.countDown(); }
                    @Override public void onMessage(String channel, String message) { heard.complete(message); unsubscribe(); }
                }, "java:news");
            }
        });
        listener.start();
        subscribed.await(15, TimeUnit.SECONDS);
        jedis.publish("java:news", "hello");
        equal(heard.get(15, TimeUnit.SECONDS), "hello");
        listener.join();
        System.out.println("ok pubsub");
    }

    /** Read into the near cache, answered from it, then told of a commit that some SQL client made. */
    static void nearCache(int port) {
        var config = DefaultJedisClientConfig.builder().protocol(RedisProtocol.RESP3).build();
        Cache cache = CacheFactory.getCache(CacheConfig.builder().maxSize(1000).build());
        try (var near = new UnifiedJedis(new HostAndPort("127.0.0.1", port), config, cache)) {
            equal(near.hget("customers:4", "id"), "4");
            long hits = cache.getStats().getHitCount();
            equal(near.hget("customers:4", "id"), "4");
            equal(cache.getStats().getHitCount(), hits + 1);
            near.hget("customers:4", "name");
            System.out.println("ok near cache");
            System.out.println("ask update");
            new Scanner(System.in).nextLine();
            long deadline = System.nanoTime() + 15_000_000_000L;
            while (!"changed".equals(near.hget("customers:4", "name")))
                if (System.nanoTime() > deadline) throw new AssertionError("row: not in 15 s");
            System.out.println("ok row");
        }
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        try (var jedis = new Jedis("127.0.0.1", port)) {
            types(jedis);
            pipeline(jedis);
            waiting(jedis, port);
        }
        nearCache(port);
        System.out.println("done");
    }
}
