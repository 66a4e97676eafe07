// The smallest HTTP server on Go's sockets: a goroutine for each connection.
package main

import (
	"bytes"
	"fmt"
	"net"
)

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n")

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening at", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	var request [2048]byte
	filled := 0
	for {
		count, err := connection.Read(request[filled:])
		if err != nil {
			return
		}
		filled += count
		if bytes.HasSuffix(request[:filled], []byte("\r\n\r\n")) {
			filled = 0
			if _, err := connection.Write(answer); err != nil {
				return
			}
		}
	}
}
