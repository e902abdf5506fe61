package channelmgr_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/internal/linkemu"
	"github.com/maquis-go/maquis/internal/linkemu/tun"
	"github.com/maquis-go/maquis/messages"
)

// inside is TCP of a host of an emulated link.
type inside struct {
	transport.TCP
	host *tun.Host
}

func (t inside) Dial(ctx context.Context, addr string) (c net.Conn, err error) {
	err = t.host.Do(func() (err error) { c, err = t.TCP.Dial(ctx, addr); return err })
	return c, err
}

func (t inside) Listen(ctx context.Context, addr string) (ln net.Listener, err error) {
	err = t.host.Do(func() (err error) { ln, err = t.TCP.Listen(ctx, addr); return err })
	return ln, err
}

// Bulk fills a line until a heartbeat takes a third of a second there and back, and
// then leaves the queue short.
func TestShortQueues(t *testing.T) {
	const rate = 10 << 20
	n, err := tun.Open(tun.Options{Way: linkemu.Way{Delay: 5 * time.Millisecond, Rate: rate, Buffer: rate}, Offload: true, Sysctl: map[string]string{"net.ipv4.tcp_congestion_control": "reno"}})
	var missing *tun.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	node := func(name string, i int) *node {
		return start(t, name, inside{host: n.Hosts[i]}, handshake.ModeInsecure, func(c *channelmgr.Config) {
			c.ShortQueues, c.Listen, c.Timing.Heartbeat = true, n.Hosts[i].Addr.String()+":0", 100*time.Millisecond
			c.Channels = []channelmgr.ChannelSpec{{Name: "bulk", Lanes: 4}}
		})
	}
	a, b := node("a", 0), node("b", 1)
	s := a.connect(b)
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = s.Send(&channelmgr.Outgoing{Channel: "bulk", Target: "x", Msg: messages.Bytes(make([]byte, 256<<10))})
			}
		}
	}()
	eventually := func(cond func() bool) {
		t.Helper()
		require.Eventually(t, cond, 3*time.Minute, 10*time.Millisecond)
	}
	eventually(func() bool { return s.RTT() > 200*time.Millisecond })
	eventually(func() bool { return a.reg.Stats()["trimmed"] > 0 })
	eventually(func() bool { return s.RTT() < 100*time.Millisecond })
}
