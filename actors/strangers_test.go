package actors_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// P-29: contacts are where nodes look for others. They add members and never
// take one away, whether they answer, are gone, or come to be known later.
func TestP29ContactsNeverEvict(t *testing.T) {
	conformance(t, onePolicy, false, func(t *testing.T, w *world) {
		n := w.n[1]
		var ends atomic.Int32
		n.System.EventStream.Subscribe(func(e any) {
			switch e.(type) {
			case *maquis.NodeDown, *maquis.NodeLeft, *maquis.NodeSuspect:
				ends.Add(1)
			}
		})
		_ = n.Join(ctxFor(t, 2*time.Second), "127.0.0.1:9")     // nobody is there
		_ = n.Join(ctxFor(t, 2*time.Second), n.Self().Addrs[0]) // itself
		require.NoError(t, n.Join(ctxFor(t, 10*time.Second), w.n[5].Self().Addrs[0], "127.0.0.1:10"))
		w.Pass(time.Minute)
		for _, k := range w.n {
			require.Len(t, k.NodeList(), conformanceNodes, k.Name())
		}
		require.Zero(t, ends.Load(), "nobody was taken away, or suspected")
		// One of the seeds of all is gone; who starts again has it as a contact
		// still, and joins by the others.
		w.n[2].Crash()
		w.Settle()
		w.n[6].Restart()
		w.Settle()
		require.Len(t, n.NodeList(), conformanceNodes-1)
	})
}

// P-30: who scans the port, talks nonsense, breaks off or says nothing changes
// nothing for those that belong here.
func TestP30Strangers(t *testing.T) {
	actorstest.RunReal(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", boot), c.Start("b", nil)
		c.Settle()
		dice := rand.New(rand.NewPCG(30, 0))
		junk := make([]byte, 100<<10)
		for i := range junk {
			junk[i] = byte(dice.Uint32())
		}
		noise := [][]byte{
			nil, // connects and says nothing
			[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
			{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, // half a TLS hello
			{0xff, 0xff, 0xff, 0xff},
			bytes.Repeat([]byte{0}, 5000),
			junk,
		}
		p := b.Probe()
		var open []net.Conn
		defer func() {
			for _, conn := range open {
				_ = conn.Close()
			}
		}()
		for i := range 120 {
			conn, err := net.Dial("tcp", a.Self().Addrs[0])
			require.NoError(t, err)
			_, _ = conn.Write(noise[i%len(noise)]) // it may be closed already
			switch i % 3 {
			case 0:
				_ = conn.Close()
			case 1:
				require.NoError(t, conn.(*net.TCPConn).SetLinger(0)) // a reset
				_ = conn.Close()
			default:
				open = append(open, conn)
			}
			if i%10 == 0 {
				p.Request(b.PID("a", "echo"), text("still there?"))
				require.Equal(t, "echo still there?", actorstest.Expect[*wrapperspb.StringValue](p, 10*time.Second).Value)
			}
		}
		require.True(t, a.Health().Live)
		require.Equal(t, []string{"a", "b"}, a.NodeList())
		require.Equal(t, []string{"a", "b"}, b.NodeList())
		require.Zero(t, a.Stats()["part_failures"])
		x := c.Start("x", nil) // and a real newcomer gets in beside those that are still connected
		c.Settle()
		require.Equal(t, []string{"a", "b", "x"}, x.NodeList())
	})
}

// A way has as many links as it may, and no more: who is farther cannot be reached
// where nothing is dialed.
func TestMaxHops(t *testing.T) {
	for _, k := range []struct {
		hops    int
		reaches bool
	}{{3, false}, {4, true}} {
		actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
			const nodes = 5 // in a line
			name := func(i int) string { return fmt.Sprint("n", i) }
			var all []*actorstest.Node
			for i := range nodes {
				spec := maquis.OverlaySpec{Kind: maquis.Static}
				for _, j := range []int{i - 1, i + 1} {
					if j >= 0 && j < nodes {
						spec.Neighbors = append(spec.Neighbors, name(j))
					}
				}
				all = append(all, c.Start(name(i), boot, maquis.WithOverlays(spec), maquis.WithRouting("relay", 0), maquis.WithMaxHops(k.hops)))
			}
			c.Settle()
			c.Pass(time.Minute)
			call := func(to int) error {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				_, err := maquis.Call[*wrapperspb.StringValue](ctx, all[0].Distribution, all[0].PID(name(to), "echo"), wrapperspb.String("x"))
				return err
			}
			for to := 1; to < nodes; to++ {
				if err := call(to); to < nodes-1 || k.reaches {
					require.NoError(t, err, "to %d", to)
				} else {
					require.Error(t, err)
				}
			}
		})
	}
}
