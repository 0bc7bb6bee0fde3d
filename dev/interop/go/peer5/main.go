// A go-micro v5 registry, driven over stdin: `peer5 etcd ADDRESS...` or `peer5 mdns`.
package main

import (
	"context"
	"encoding/json"
	"time"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/etcd"
	"go-micro.dev/v5/server"

	"callsign.invalid/interop/line"
)

type peer struct {
	registry registry.Registry
	server   server.Server
}

// Greeter is the service that a started server offers.
type Greeter struct{}

// Hello greets.
func (*Greeter) Hello(_ context.Context, request *line.HelloRequest, response *line.HelloResponse) error {
	response.Msg = "Hello, " + request.Name + "!"
	return nil
}

func main() {
	line.Main(map[string]func([]string) line.Peer{
		"etcd": func(addresses []string) line.Peer {
			return &peer{registry: etcd.NewEtcdRegistry(registry.Addrs(addresses...))}
		},
		"mdns": func([]string) line.Peer {
			return &peer{registry: registry.NewMDNSRegistry(registry.Timeout(time.Second))}
		},
	})
}

func (p *peer) Register(service json.RawMessage, ttl time.Duration) error {
	decoded, err := line.Decode[registry.Service](service)
	if err != nil {
		return err
	}
	return p.registry.Register(decoded, registry.RegisterTTL(ttl))
}

func (p *peer) Deregister(service json.RawMessage) error {
	decoded, err := line.Decode[registry.Service](service)
	if err != nil {
		return err
	}
	return p.registry.Deregister(decoded)
}

func (p *peer) Get(name string) (any, error) {
	return p.registry.GetService(name)
}

func (p *peer) List() (any, error) {
	return p.registry.ListServices()
}

func (p *peer) Watch(name string, tell func(string, any), fail func(error)) error {
	var options []registry.WatchOption
	if name != "" {
		options = append(options, registry.WatchService(name))
	}
	watcher, err := p.registry.Watch(options...)
	if err != nil {
		return err
	}
	go func() {
		for {
			result, err := watcher.Next()
			if err != nil {
				fail(err)
				return
			}
			tell(result.Action, result.Service)
		}
	}()
	return nil
}

func (p *peer) Serve(serve line.Serve) error {
	p.server = server.NewServer(
		server.Name(serve.Name),
		server.Id(serve.ID),
		server.Version(serve.Version),
		server.Address(serve.Address),
		server.Metadata(serve.Metadata),
		server.Registry(p.registry),
		server.Broker(broker.NewMemoryBroker()),
		server.RegisterTTL(time.Duration(serve.TTL)*time.Second),
		server.RegisterInterval(time.Duration(serve.Interval)*time.Second),
	)
	if err := p.server.Handle(p.server.NewHandler(&Greeter{})); err != nil {
		return err
	}
	return p.server.Start()
}

func (p *peer) Stop() error {
	return p.server.Stop()
}
