// Package lunatic is processes and messages for Go: what a program needs of the functions that executor/ABI.md lists.
//
// A process is an instance of the whole program, with a memory, a heap and goroutines of its own. It runs one function,
// which is exported by its name, and ends when that returns:
//
//	//go:wasmexport sum_until
//	func sumUntil(parent lunatic.Process) { … }
//
// Build as a library, which Go calls c-shared:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o main.wasm .
//
// A library has the export _initialize, which every process begins with: it starts Go's runtime and initialises packages. In
// what Go builds otherwise only main does that, so no other function could be called in a new process. What a library lacks
// is _start, by which the first process begins. So that is an entry like the others, and main stays empty:
//
//	//go:wasmexport _start
//	func start() { … }
//
//	func main() {}
//
// A process that waits here waits with all its goroutines: use another process for work that should continue meanwhile.
package lunatic

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// A Process, by a number that no other one ever has.
type Process int64

// A Module that a program has compiled, or OwnModule.
type Module int64

// OwnModule is the one that the program itself is.
const OwnModule Module = -1

const (
	noTag     = 0
	forever   = -1
	inherited = -1
	notLinked = 0
)

//go:wasmimport lunatic::process process_id
func processID() int64

//go:wasmimport lunatic::process spawn
func spawn(link, config, module int64, entry string, parameters unsafe.Pointer, length uint32, processOrError unsafe.Pointer) int32

//go:wasmimport lunatic::process compile_module
func compileModule(bytes unsafe.Pointer, length uint32, moduleOrError unsafe.Pointer) int32

//go:wasmimport lunatic::message create_data
func createData(tag, capacity int64)

//go:wasmimport lunatic::message write_data
func writeData(bytes unsafe.Pointer, length uint32) int32

//go:wasmimport lunatic::message send
func send(process int64) int32

//go:wasmimport lunatic::message receive
func receive(tags unsafe.Pointer, count uint32, timeoutMs int64) int32

//go:wasmimport lunatic::message data_size
func dataSize() int64

//go:wasmimport lunatic::message read_data
func readData(buffer unsafe.Pointer, length uint32) int32

//go:wasmimport lunatic::error string_size
func errorSize(id int64) int32

//go:wasmimport lunatic::error to_string
func errorText(id int64, text unsafe.Pointer)

//go:wasmimport lunatic::error drop
func errorDrop(id int64)

// Self is the process that asks.
func Self() Process { return Process(processID()) }

// Spawn has a new process run an entry of the module with parameters, which are int32 or int64.
func Spawn(module Module, entry string, parameters ...any) (Process, error) {
	var encoded []byte
	for _, parameter := range parameters {
		// The type as WebAssembly encodes it, and the value in 16 bytes.
		var entry [17]byte
		switch value := parameter.(type) {
		case int32:
			entry[0] = 0x7f
			binary.LittleEndian.PutUint32(entry[1:], uint32(value))
		case int64:
			entry[0] = 0x7e
			binary.LittleEndian.PutUint64(entry[1:], uint64(value))
		case Process:
			entry[0] = 0x7e
			binary.LittleEndian.PutUint64(entry[1:], uint64(value))
		default:
			return 0, errors.New("a parameter is neither int32 nor int64")
		}
		encoded = append(encoded, entry[:]...)
	}
	var id int64
	at, length := place(encoded)
	if spawn(notLinked, inherited, int64(module), entry, at, length, unsafe.Pointer(&id)) != 0 {
		return 0, failure(id)
	}
	return Process(id), nil
}

// Compile makes a module of the bytes of a .wasm file.
func Compile(wasm []byte) (Module, error) {
	var id int64
	at, length := place(wasm)
	switch compileModule(at, length, unsafe.Pointer(&id)) {
	case 0:
		return Module(id), nil
	case 1:
		return 0, failure(id)
	default:
		return 0, errors.New("this process may not compile modules")
	}
}

// Send sends the process a message. Sending to a dead process is not an error.
func (process Process) Send(message []byte) {
	createData(noTag, int64(len(message)))
	writeData(place(message))
	send(int64(process))
}

// Receive waits for the next message.
func Receive() []byte {
	receive(nil, 0, forever)
	message := make([]byte, dataSize())
	readData(place(message))
	return message
}

func place(bytes []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes))
}

func failure(id int64) error {
	text := make([]byte, errorSize(id))
	at, _ := place(text)
	errorText(id, at)
	errorDrop(id)
	return errors.New(string(text))
}
