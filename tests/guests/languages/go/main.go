// Uses the interface of Go's library to the system: arguments, environment, input, files, time, randomness, goroutines, and numbers
// as text. Prints the results, to be compared with those of the same program built natively.
//
// Usage: PROGRAM DIRECTORY [WORD…]; the directory exists and is empty. The exit status is 7.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func given() {
	for i, word := range os.Args[1:] {
		fmt.Printf("argument %d: %q\n", i+1, word)
	}
	for _, name := range []string{"GREETING", "EMPTY", "ABSENT"} {
		value, isSet := os.LookupEnv(name)
		fmt.Printf("%s: %q %t\n", name, value, isSet)
	}
	environment := os.Environ()
	sort.Strings(environment)
	fmt.Println(strings.Join(environment, " "))
}

func input() {
	lines := bufio.NewScanner(os.Stdin)
	count := 0
	for lines.Scan() {
		count++
		fmt.Printf("line %d: %s (%d)\n", count, lines.Text(), len(lines.Text()))
	}
	must(lines.Err())
	fmt.Println(count, "lines")
}

func list(directory string) {
	entries, err := os.ReadDir(directory)
	must(err)
	fmt.Print(len(entries), " entries:")
	for _, entry := range entries {
		fmt.Printf(" %s(%t)", entry.Name(), entry.IsDir())
	}
	fmt.Println()
}

func files(directory string) {
	path, other, sub := filepath.Join(directory, "a.txt"), filepath.Join(directory, "b.txt"), filepath.Join(directory, "sub")
	var rows strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&rows, "row %d\n", i)
	}
	must(os.WriteFile(path, []byte(rows.String()), 0o644))
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(err)
	_, err = file.WriteString("the end\n")
	must(err)
	must(file.Close())

	file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	at, err := file.Seek(-8, io.SeekEnd)
	must(err)
	last, err := io.ReadAll(file)
	must(err)
	fmt.Printf("at %d: %q\n", at, last)
	part := make([]byte, 5)
	_, err = file.ReadAt(part, 6)
	must(err)
	_, err = file.WriteAt([]byte("ROW"), 0)
	must(err)
	must(file.Sync())
	must(file.Close())
	whole, err := os.ReadFile(path)
	must(err)
	fmt.Printf("%q, %d rows, begins with %q\n", part, bytes.Count(whole, []byte("\n")), whole[:3])
	must(os.Truncate(path, 6))
	status, err := os.Stat(path)
	must(err)
	fmt.Println(status.Name(), status.Size(), status.Mode().IsRegular(), time.Since(status.ModTime()) < time.Hour)

	must(os.MkdirAll(filepath.Join(sub, "below"), 0o755))
	must(os.Rename(path, other))
	list(directory)
	must(filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		must(err)
		below, err := filepath.Rel(directory, path)
		must(err)
		fmt.Println("walked to", below, entry.IsDir())
		return nil
	}))
	_, err = os.Open(path)
	fmt.Println("a.txt:", errors.Is(err, fs.ErrNotExist))
	err = os.Mkdir(sub, 0o755)
	fmt.Println("mkdir again:", errors.Is(err, fs.ErrExist))
	fmt.Println("remove of what is not empty:", os.Remove(sub) != nil)
	must(os.RemoveAll(sub))
	must(os.Remove(other))
	list(directory)
}

func moments() {
	begin := time.Now()
	time.Sleep(20 * time.Millisecond)
	slept := time.Since(begin)
	fmt.Println("slept:", slept >= 20*time.Millisecond && slept < 20*time.Second)
	fmt.Println("after 2020:", begin.Year() > 2020)
	fmt.Println(time.Unix(951782400, 123456789).UTC().Format(time.RFC3339Nano))
}

func chance() {
	one, two := make([]byte, 16), make([]byte, 16)
	_, err := rand.Read(one)
	must(err)
	_, err = rand.Read(two)
	must(err)
	fmt.Println("random differs:", !bytes.Equal(one, two))
}

// Goroutines that wait for each other, with what is collected meanwhile.
func together() {
	parts := make(chan int)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			garbage := make([][]byte, 0)
			for range 100 {
				garbage = append(garbage, make([]byte, 1<<10))
			}
			time.Sleep(time.Duration(i%3) * time.Millisecond)
			parts <- i * len(garbage)
		})
	}
	go func() {
		all.Wait()
		close(parts)
	}()
	sum := 0
	for part := range parts {
		sum += part
	}
	select {
	case <-time.After(time.Millisecond):
		fmt.Println("together:", sum)
	}
	defer func() { fmt.Println("recovered:", recover()) }()
	var none map[string]int
	none["x"] = sum
}

func numbers() {
	for _, value := range []float64{0.1, 1.0 / 3.0, 1e100, -2.5e-310, math.MaxFloat64, math.Copysign(0, -1), math.Inf(1), math.NaN()} {
		fmt.Println(value, float32(value))
		fmt.Printf("%g %.17g %.3f %e %x\n", value, value, value, value, value)
	}
	text, err := json.Marshal(map[string]any{"b": []float64{1, 2.5, 1e21}, "a": "grün", "c": nil})
	must(err)
	fmt.Println(string(text))
	fmt.Println(math.Sqrt(2), math.Sin(1e6), math.Pow(2, 0.5), math.FMA(0.1, 10, -1))
}

func main() {
	given()
	input()
	files(os.Args[1])
	moments()
	chance()
	together()
	numbers()
	os.Exit(7)
}
