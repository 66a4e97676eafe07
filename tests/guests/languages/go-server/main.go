// A server with a goroutine per connection of a preopened listener: the library waits for all connections and timers in one call.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

var ticks atomic.Int64

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			time.Sleep(time.Millisecond)
			ticks.Add(1)
		}
	}()
	fmt.Println("listening")
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}

// Answers each line, in capitals; "ticks" when the clock has gone on, and "quit" with the end.
func serve(connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		switch lines.Text() {
		case "quit":
			os.Exit(7)
		case "ticks":
			for begun := ticks.Load(); ticks.Load() < begun+5; {
				time.Sleep(time.Millisecond)
			}
			fmt.Fprintln(connection, "ticked")
		default:
			fmt.Fprintln(connection, strings.ToUpper(lines.Text()))
		}
	}
}
