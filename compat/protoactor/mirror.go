package protoactor

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"

	maquis "github.com/maquis-go/maquis/actors"
)

// Mirror publishes protoactor's EndpointConnectedEvent and
// EndpointTerminatedEvent on the system's event stream when nodes come and go,
// for code that subscribes to them. Addresses are those of PIDs. It ends when
// cancel is called or the Distribution stops.
//
// A Provider publishes them itself. Do not use Mirror beside a protoactor remote
// that runs: a remote dials whom an EndpointConnectedEvent names.
func Mirror(system *actor.ActorSystem) (cancel func(), err error) {
	d := maquis.GetDistribution(system)
	if d == nil {
		return nil, errors.New("protoactor: no Distribution was started on this actor system")
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := d.Events(ctx)
	go func() {
		m := mirror{system, d.Address(), make(map[string]bool)}
		for e := range events {
			m.event(e)
		}
	}()
	return cancel, nil
}

type mirror struct {
	system *actor.ActorSystem
	self   string
	up     map[string]bool
}

func (m *mirror) event(e maquis.Event) {
	switch e := e.(type) {
	case *maquis.Snapshot:
		now := make(map[string]bool)
		for _, k := range e.Members {
			now[k.Address()] = true
		}
		for a := range m.up {
			if !now[a] {
				m.down(a)
			}
		}
		for _, k := range e.Members {
			m.connected(k.Address())
		}
	case *maquis.NodeUp:
		m.connected(e.Member.Address())
	case *maquis.NodeDown:
		m.down(e.Member.Address())
	case *maquis.NodeLeft:
		m.down(e.Member.Address())
	}
}

func (m *mirror) connected(address string) {
	if address != m.self && !m.up[address] {
		m.up[address] = true
		m.system.EventStream.Publish(&remote.EndpointConnectedEvent{Address: address})
	}
}

func (m *mirror) down(address string) {
	if m.up[address] {
		delete(m.up, address)
		m.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: address})
	}
}
