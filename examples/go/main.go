// A hundred processes, each of which adds up a part of a vector: examples/sums in Go.
//
// Every child is sent its index and a copy of the vector, sums the numbers up to the index, and sends the result back to the
// parent, which prints them in order.
package main

import (
	"encoding/binary"
	"fmt"
	"log"

	"sums/lunatic"
)

const children = 100

//go:wasmexport _start
func start() {
	numbers := make([]int64, children)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	for index := range int64(children) {
		child, err := lunatic.Spawn(lunatic.OwnModule, "sum_until", lunatic.Self())
		if err != nil {
			log.Fatal(err)
		}
		child.Send(encode(append([]int64{index}, numbers...)))
	}

	var sums [children]int64
	for range children {
		answer := decode(lunatic.Receive())
		sums[answer[0]] = answer[1]
	}
	for index, sum := range sums {
		fmt.Printf("Sum until %d: %d\n", index, sum)
	}
}

//go:wasmexport sum_until
func sumUntil(parent int64) {
	task := decode(lunatic.Receive())
	index, numbers := task[0], task[1:]
	var sum int64
	for _, number := range numbers[:index+1] {
		sum += number
	}
	lunatic.Process(parent).Send(encode([]int64{index, sum}))
}

// A program that is built as a library has to have it; it is not called.
func main() {}

func encode(numbers []int64) []byte {
	var message []byte
	for _, number := range numbers {
		message = binary.LittleEndian.AppendUint64(message, uint64(number))
	}
	return message
}

func decode(message []byte) []int64 {
	numbers := make([]int64, len(message)/8)
	for i := range numbers {
		numbers[i] = int64(binary.LittleEndian.Uint64(message[8*i:]))
	}
	return numbers
}
