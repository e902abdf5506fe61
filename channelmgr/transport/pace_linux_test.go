package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/internal/linkemu"
	"github.com/maquis-go/maquis/internal/linkemu/tun"
)

// connected makes a paced connection of the transport, both ends.
func connected(t *testing.T, in [2]func(func() error) error, addr string) (near, far net.Conn) {
	t.Helper()
	var ln net.Listener
	require.NoError(t, in[1](func() (err error) {
		ln, err = transport.TCP{}.Listen(context.Background(), addr+":0")
		return err
	}))
	defer func() { _ = ln.Close() }()
	require.NoError(t, in[0](func() (err error) {
		near, err = transport.TCP{}.Dial(context.Background(), ln.Addr().String())
		return err
	}))
	far, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	near.(transport.Pacer).Pace()
	far.(transport.Pacer).Pace()
	return near, far
}

func buffer(t *testing.T, c net.Conn) (n int) {
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { n, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) }))
	require.NoError(t, err)
	return n
}

// Over a network with a round trip a paced connection's window grows: a fixed one
// would allow so many bytes each round trip and no more.
func TestPacedWindow(t *testing.T) {
	n, err := tun.Open(tun.Options{Way: linkemu.Way{Delay: 10 * time.Millisecond, Buffer: 64 << 20}, Offload: true})
	var missing *tun.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	near, far := connected(t, [2]func(func() error) error{n.Hosts[0].Do, n.Hosts[1].Do}, n.Hosts[1].Addr.String())
	go func() {
		b := make([]byte, 256<<10)
		for {
			if _, err := near.Write(b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1<<20)
	for end := time.Now().Add(30 * time.Second); buffer(t, far) < 1<<20; {
		require.True(t, time.Now().Before(end), "the window does not grow: the buffer is %d bytes", buffer(t, far))
		_, err := io.ReadFull(far, b)
		require.NoError(t, err)
	}
}

// Within a host it is fixed and small.
func TestPacedWithinHost(t *testing.T) {
	here := func(f func() error) error { return f() }
	near, far := connected(t, [2]func(func() error) error{here, here}, "127.0.0.1")
	for _, c := range []net.Conn{near, far} {
		require.Equal(t, 256<<10, buffer(t, c)) // the kernel doubles it
	}
}
