// The process benchmarks as a Go programmer would write them. Arguments: the name of a benchmark and the number of operations.
// Prints the nanoseconds that they took. Channels have room for one message, where an actor's mailbox has no bound.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	run := map[string]func(int){"spawn": spawn, "ping-pong": pingPong, "ring": ring, "fan-in": fanIn}[os.Args[1]]
	start := time.Now()
	run(count)
	fmt.Println(time.Since(start).Nanoseconds())
}

func spawn(count int) {
	replies := make(chan int, 1)
	for range make([]struct{}, count) {
		go func() { replies <- 1 }()
		<-replies
	}
}

func pingPong(count int) {
	requests, replies := make(chan int, 1), make(chan int, 1)
	go func() {
		for request := range requests {
			replies <- request
		}
	}()
	for number := 0; number < count; number++ {
		requests <- number
		<-replies
	}
}

func ring(hops int) {
	last := make(chan int, 1)
	next := last
	for place := 1; place < 1000; place++ {
		in, out := make(chan int, 1), next
		go func() {
			for left := range in {
				out <- max(left-1, 0)
			}
		}()
		next = in
	}
	next <- hops
	for left := range last {
		if left == 0 {
			return
		}
		next <- left - 1
	}
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func fanIn(count int) {
	in := make(chan int, 1)
	each := count / 100
	for sender := 0; sender < 100; sender++ {
		go func() {
			for number := 0; number < each; number++ {
				in <- number
			}
		}()
	}
	for received := 0; received < 100*each; received++ {
		<-in
	}
}
