// Package line lets a test drive a go-micro registry: it reads one JSON request a line from stdin, does it, and answers with
// one JSON line on stdout.
//
//	{"do":"register","service":{...},"ttl":2}      {"did":"register"}
//	{"do":"get","name":"greeter"}                  {"did":"get","services":[{...}]}
//	{"do":"watch","name":""}                       {"did":"watch"}, then {"event":"create","service":{...}} for each change
//
// What cannot be done is answered with {"failed":"get","error":"service not found"}. Services are go-micro's own JSON. The
// process ends with its stdin, without deregistering anything: that is what "stop" is for.
//
// Each line of go-micro has types of its own, so each has a program of its own, which only turns these requests into calls.
package line

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Peer is one registry of one go-micro.
type Peer interface {
	// Register puts a service's nodes into the registry, to expire after ttl.
	Register(service json.RawMessage, ttl time.Duration) error
	// Deregister takes them out.
	Deregister(service json.RawMessage) error
	// Get looks up the services of a name.
	Get(name string) (any, error)
	// List looks up all services.
	List() (any, error)
	// Watch follows one name, or all if it is empty, and tells each change until it fails. It returns once changes that
	// are made from now on will be told.
	Watch(name string, tell func(action string, service any), fail func(error)) error
	// Serve starts go-micro's own server, which registers by itself and keeps itself registered.
	Serve(serve Serve) error
	// Stop ends the server, which deregisters by itself.
	Stop() error
}

// Serve says what kind of server to start.
type Serve struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Address  string            `json:"address"`
	Metadata map[string]string `json:"metadata"`
	// Seconds until the entry of a dead server expires, and between its renewals.
	TTL      int `json:"ttl"`
	Interval int `json:"interval"`
}

// HelloRequest is what the server's one method takes.
type HelloRequest struct {
	Name  string   `json:"name"`
	Times int64    `json:"times"`
	Tags  []string `json:"tags"`
}

// HelloResponse is what it answers.
type HelloResponse struct {
	Msg string `json:"msg"`
}

type request struct {
	Do      string          `json:"do"`
	Name    string          `json:"name"`
	TTL     int             `json:"ttl"`
	Service json.RawMessage `json:"service"`
	Serve   Serve           `json:"serve"`
}

type answer struct {
	Did      string `json:"did,omitempty"`
	Failed   string `json:"failed,omitempty"`
	Event    string `json:"event,omitempty"`
	Error    string `json:"error,omitempty"`
	Service  any    `json:"service,omitempty"`
	Services any    `json:"services,omitempty"`
}

// Main opens the registry that the arguments name, `etcd ADDRESS...` or `mdns`, and serves requests until stdin ends.
func Main(open map[string]func(addresses []string) Peer) {
	if len(os.Args) < 2 || open[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage:", os.Args[0], "etcd ADDRESS... | mdns")
		os.Exit(2)
	}
	run(open[os.Args[1]](os.Args[2:]))
}

// Decode reads a service by the types of one line of go-micro.
func Decode[Service any](text json.RawMessage) (*Service, error) {
	service := new(Service)
	return service, json.Unmarshal(text, service)
}

func run(peer Peer) {
	requests := bufio.NewScanner(os.Stdin)
	requests.Buffer(nil, 16<<20)
	out := &writer{encoder: json.NewEncoder(os.Stdout)}
	// Older lines of go-micro log to stdout, which is for our lines alone.
	os.Stdout = os.Stderr
	out.write(answer{Did: "start"})
	for requests.Scan() {
		var request request
		if err := json.Unmarshal(requests.Bytes(), &request); err != nil {
			out.write(answer{Failed: "read", Error: err.Error()})
			continue
		}
		services, err := do(peer, &request, out)
		if err != nil {
			out.write(answer{Failed: request.Do, Error: err.Error()})
		} else {
			out.write(answer{Did: request.Do, Services: services})
		}
	}
}

func do(peer Peer, request *request, out *writer) (any, error) {
	switch request.Do {
	case "register":
		return nil, peer.Register(request.Service, time.Duration(request.TTL)*time.Second)
	case "deregister":
		return nil, peer.Deregister(request.Service)
	case "get":
		return peer.Get(request.Name)
	case "list":
		return peer.List()
	case "watch":
		tell := func(action string, service any) { out.write(answer{Event: action, Service: service}) }
		fail := func(err error) { out.write(answer{Failed: "watch", Error: err.Error()}) }
		return nil, peer.Watch(request.Name, tell, fail)
	case "serve":
		return nil, peer.Serve(request.Serve)
	case "stop":
		return nil, peer.Stop()
	}
	return nil, fmt.Errorf("there is no request %q", request.Do)
}

// writer keeps the lines of watches and answers apart.
type writer struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (w *writer) write(answer answer) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if err := w.encoder.Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
