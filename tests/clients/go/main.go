// go-redis against Freshet: each step prints its name when it has held. See ../clients.py.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"reflect"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func equal(got, want any) {
	if !reflect.DeepEqual(got, want) {
		log.Fatalf("got %v, want %v", got, want)
	}
}

func main() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1]})
	defer client.Close()

	must(client.Set(ctx, "go:k", "v", time.Minute).Err())
	equal(client.Get(ctx, "go:k").Val(), "v")
	equal(client.HSet(ctx, "go:h", "a", 1, "b", 2).Val(), int64(2))
	equal(client.HGetAll(ctx, "go:h").Val(), map[string]string{"a": "1", "b": "2"})
	equal(client.RPush(ctx, "go:l", 1, 2, 3).Val(), int64(3))
	equal(client.LRange(ctx, "go:l", 0, -1).Val(), []string{"1", "2", "3"})
	equal(client.ZAdd(ctx, "go:z", redis.Z{Score: 1.5, Member: "one"}).Val(), int64(1))
	equal(client.ZRangeWithScores(ctx, "go:z", 0, -1).Val(), []redis.Z{{Score: 1.5, Member: "one"}})
	fmt.Println("ok types")

	pipe := client.Pipeline()
	var last *redis.IntCmd
	for i := 0; i < 1000; i++ {
		last = pipe.Incr(ctx, "go:n")
	}
	_, err := pipe.Exec(ctx)
	must(err)
	equal(last.Val(), int64(1000))
	fmt.Println("ok pipeline")

	tx := client.TxPipeline()
	tx.Set(ctx, "go:m", "1", 0)
	incremented := tx.Incr(ctx, "go:m")
	_, err = tx.Exec(ctx)
	must(err)
	equal(incremented.Val(), int64(2))
	must(client.Watch(ctx, func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "go:m", "3", 0)
			return nil
		})
		return err
	}, "go:m"))
	fmt.Println("ok multi")

	popped := make(chan []string)
	go func() { popped <- client.BLPop(ctx, 10*time.Second, "go:queue").Val() }()
	must(client.RPush(ctx, "go:queue", "job").Err())
	equal(<-popped, []string{"go:queue", "job"})
	fmt.Println("ok blocking")

	subscription := client.Subscribe(ctx, "go:news")
	_, err = subscription.Receive(ctx)
	must(err)
	must(client.Publish(ctx, "go:news", "hello").Err())
	equal((<-subscription.Channel()).Payload, "hello")
	fmt.Println("ok pubsub")

	equal(client.HGet(ctx, "customers:3", "id").Val(), "3")
	fmt.Println("ask update")
	bufio.NewReader(os.Stdin).ReadString('\n')
	deadline := time.Now().Add(15 * time.Second)
	for client.HGet(ctx, "customers:3", "name").Val() != "changed" {
		if time.Now().After(deadline) {
			log.Fatal("row: not in 15 s")
		}
	}
	fmt.Println("ok row")
	fmt.Println("done")
}
