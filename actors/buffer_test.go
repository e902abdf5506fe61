package actors_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/messages"
)

// pattern are bytes that tell what they are and what they should be.
func pattern(n, size int) []byte {
	b := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(n)<<32|uint64(i))
	}
	return b
}

// Buffers of all sizes arrive whole; what an actor keeps stays as it is while
// others are given back and used again, also after they were sent on.
func TestBuffersAreGivenBack(t *testing.T) {
	n := cluster(t, nil, "a", "b")
	const count = 300
	kept := make(map[int]*messages.Buffer)
	size := func(i int) int { return 8 + i*i*i%(300<<10) }
	done := make(chan error, 1)
	back := make(chan error, count)
	check := func(i int, b []byte) error {
		if string(b) != string(pattern(i, size(i))) {
			return fmt.Errorf("message %d of %d bytes is not what was sent", i, len(b))
		}
		return nil
	}
	_, err := n[0].system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*messages.Buffer); ok {
			i := int(binary.LittleEndian.Uint64(m.B) >> 32)
			back <- check(i, m.B)
			m.Release()
			m.Release()
		}
	}), "home")
	require.NoError(t, err)
	next := 0
	_, err = n[1].system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		m, ok := c.Message().(*messages.Buffer)
		if !ok {
			return
		}
		err := check(next, m.B)
		if next%5 == 0 {
			kept[next] = m
		} else {
			c.Send(n[1].PID("a", "home"), m)
			m.Release()
		}
		if next++; next == count || err != nil {
			for i, b := range kept {
				if bad := check(i, b.B); bad != nil {
					err = fmt.Errorf("kept: %w", bad)
				}
			}
			done <- err
		}
	}), "sink")
	require.NoError(t, err)
	pid := n[0].PID("b", "sink")
	for i := range count {
		n[0].system.Root.Send(pid, &messages.Buffer{B: pattern(i, size(i))})
	}
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("they do not come")
	}
	for range count - len(kept) {
		select {
		case err := <-back:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Fatal("what was sent on does not come")
		}
	}
}

// Large messages one way over loopback, to be compared within one run: bytes
// through a TCP connection, as Bytes, and as Buffers that the actor keeps or gives
// back.
func BenchmarkLarge(b *testing.B) {
	var got atomic.Int64
	var nodes []*maquis.Distribution
	var systems []*actor.ActorSystem
	for i := range 2 {
		opts := []maquis.Option{maquis.WithProfile("test"), maquis.WithName(fmt.Sprint("n", i)), maquis.WithInsecure(), maquis.WithLogger(slog.New(slog.DiscardHandler)),
			maquis.WithChannels(maquis.ChannelSpec{Name: "wide", Lanes: 8})}
		if i > 0 {
			opts = append(opts, maquis.WithSeeds(nodes[0].Self().Addrs[0]))
		}
		system := quietSystem()
		d, err := maquis.Start(context.Background(), system, opts...)
		require.NoError(b, err)
		b.Cleanup(func() { _ = d.Stop(context.Background()); system.Shutdown() })
		nodes, systems = append(nodes, d), append(systems, system)
	}
	require.NoError(b, nodes[0].WaitForMembers(context.Background(), 2))
	sink := func(name string, release bool) {
		_, err := systems[1].Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			switch m := c.Message().(type) {
			case messages.Bytes:
				got.Add(1)
			case *messages.Buffer:
				if release {
					m.Release()
				}
				got.Add(1)
			}
		}), name)
		require.NoError(b, err)
	}
	for i := range 8 {
		sink(fmt.Sprint("keeps", i), false)
		sink(fmt.Sprint("releases", i), true)
	}
	for _, size := range []int{64 << 10, 1 << 20} {
		data := make([]byte, size)
		b.Run(fmt.Sprintf("%dKiB/tcp", size>>10), func(b *testing.B) { throughTCP(b, data) })
		for _, kind := range []struct {
			name, channel, sink string
			msg                 any
			sinks               int
		}{
			{"bytes", "data", "keeps", messages.Bytes(data), 1}, {"kept", "data", "keeps", &messages.Buffer{B: data}, 1}, {"released", "data", "releases", &messages.Buffer{B: data}, 1},
			{"bytes-8-lanes", "wide", "keeps", messages.Bytes(data), 8}, {"released-8-lanes", "wide", "releases", &messages.Buffer{B: data}, 8},
		} {
			var pids []*actor.PID
			for i := range kind.sinks {
				pids = append(pids, nodes[0].PID("n1", fmt.Sprint(kind.sink, i), maquis.WithChannel(kind.channel)))
			}
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, kind.name), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				base := got.Load()
				for i := range b.N {
					systems[0].Root.Send(pids[i%len(pids)], kind.msg)
				}
				for got.Load() < base+int64(b.N) {
					time.Sleep(50 * time.Microsecond)
				}
			})
		}
	}
}

func throughTCP(b *testing.B, data []byte) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		buf := make([]byte, len(data))
		for range b.N {
			if _, err := io.ReadFull(c, buf); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(b, err)
	defer c.Close()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		_, err := c.Write(data)
		require.NoError(b, err)
	}
	require.NoError(b, <-done)
}
