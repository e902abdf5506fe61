// Package transport provides the byte streams that links run on: TCP, a
// network in memory for tests on virtual time, and a wrapper around either
// that injects faults.
package transport

import (
	"context"
	"net"
)

// Transport opens and accepts byte streams.
type Transport interface {
	// Name is "tcp", "memory" or the like.
	Name() string
	// Listen binds an address "host:port"; port 0 picks one.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects; ctx bounds how long that may take.
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TryWriter is a stream that can write without blocking.
type TryWriter interface {
	// TryWrite writes as much of p as the stream takes at once, which may be
	// nothing, and never blocks. An error means that the stream is broken.
	// It must not be called while another write is in progress.
	TryWrite(p []byte) (n int, err error)
}
