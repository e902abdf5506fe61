package libcluster

import (
	"errors"
	"time"
)

// Event is an event of libcluster's telemetry.
type Event struct {
	Name     string // one of those below
	Topology string
	Node     string
	Duration time.Duration // of an attempt
	Reason   error         // of an error: as in BadNodes
}

// Names of events, as libcluster's with dots: [:libcluster, :connect_node, :ok]
// and so on.
const (
	ConnectNodeOK       = "libcluster.connect_node.ok"
	ConnectNodeError    = "libcluster.connect_node.error"
	DisconnectNodeOK    = "libcluster.disconnect_node.ok"
	DisconnectNodeError = "libcluster.disconnect_node.error"
)

// Reasons of BadNodes and of events.
var (
	// ErrIgnored is what a Connect or Disconnect of your own returns for
	// Erlang's :ignored: the node is not part of this network.
	ErrIgnored = errors.New("libcluster: ignored")
	// ErrUnreachable: the node could not be joined by; libcluster's false.
	ErrUnreachable = errors.New("libcluster: unreachable")
	// ErrNotPartOfNetwork: the node was ignored.
	ErrNotPartOfNetwork = errors.New("libcluster: not part of the network")
	// ErrAlreadyDisconnected is what a Disconnect of your own returns for
	// Erlang's false. It is told of, and no failure.
	ErrAlreadyDisconnected = errors.New("libcluster: already disconnected")
)

func (t Topology) tell(name, node string, began time.Time, reason error) {
	if t.Telemetry != nil {
		t.Telemetry(Event{name, t.Name, node, time.Since(began), reason})
	}
}
