// The hello answer from Go's net/http or from fasthttp. Prints its port on one line.
//
//	peer nethttp|fasthttp
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"
)

var body = []byte("hello, world\n")

func serveNetHTTP(listener net.Listener) error {
	handler := func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/plain")
		response.Write(body)
	}
	return http.Serve(listener, http.HandlerFunc(handler))
}

func serveFastHTTP(listener net.Listener) error {
	server := fasthttp.Server{
		NoDefaultServerHeader: true,
		Handler: func(context *fasthttp.RequestCtx) {
			context.SetContentType("text/plain")
			context.SetBody(body)
		},
	}
	return server.Serve(listener)
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if len(os.Args) > 1 && os.Args[1] == "fasthttp" {
		log.Fatal(serveFastHTTP(listener))
	}
	log.Fatal(serveNetHTTP(listener))
}
