package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// modes are the channels of the table of modes; the first is what the others are
// compared with.
var modes = []maquis.ChannelSpec{
	{Name: "fifo"},
	{Name: "acked", Delivery: maquis.AtLeastOnce},
	{Name: "latest", Ordering: maquis.Monotonic},
	{Name: "causal", Delivery: maquis.AtLeastOnce, Ordering: maquis.Causal},
	{Name: "packed", Compression: maquis.S2},
}

// members are nodes without an emulated link between them, of which each sends to
// all others in turn.
type members struct {
	ds      []*maquis.Distribution
	systems []*actor.ActorSystem
	got     atomic.Int64
}

func (m *members) start(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range n {
		s := system()
		opts := []maquis.Option{
			maquis.WithName(fmt.Sprint("n", i)), maquis.WithListen("127.0.0.1:0"), maquis.WithSecret("a secret of the benchmarks, long enough"),
			maquis.WithLogger(slog.New(slog.DiscardHandler)), maquis.WithChannels(modes...),
		}
		if i > 0 {
			opts = append(opts, maquis.WithSeeds(m.ds[0].Self().Addrs[0]))
		}
		d, err := maquis.Start(ctx, s, opts...)
		if err != nil {
			return err
		}
		m.ds, m.systems = append(m.ds, d), append(m.systems, s)
		for k := range n {
			if _, err := s.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					m.got.Add(1)
				}
			}), fmt.Sprint("from", k)); err != nil {
				return err
			}
		}
	}
	for _, d := range m.ds {
		if err := d.WaitForMembers(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// inFlight is how many messages are on their way at most, on all channels that
// lose none.
const inFlight = 10_000

// keys are those of a channel for the newest, towards each node.
const keys = 1000

// run sends on a channel for a while and returns how many messages arrived a
// second. On a channel for the newest those that were superseded do not arrive.
func (m *members) run(channel string, size int, d time.Duration) float64 {
	base, began := m.got.Load(), time.Now()
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i := range m.ds {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var pids []*actor.PID
			for key := range keys {
				for k := range m.ds {
					if k != i && (key == 0 || channel == "latest") {
						pids = append(pids, m.ds[i].PID(fmt.Sprint("n", k), fmt.Sprint("from", i), maquis.WithChannel(channel), maquis.WithPartitionKey(fmt.Sprint(key))))
					}
				}
			}
			msg := wrapperspb.Bytes(make([]byte, size))
			for k := 0; time.Since(began) < d; k++ {
				for channel != "latest" && sent.Load()-(m.got.Load()-base) > inFlight && time.Since(began) < d {
					time.Sleep(50 * time.Microsecond)
				}
				sent.Add(1)
				m.systems[i].Root.Send(pids[k%len(pids)], msg)
			}
		}()
	}
	wg.Wait()
	rate := float64(m.got.Load()-base) / time.Since(began).Seconds()
	for end := time.Now().Add(10 * time.Second); channel != "latest" && m.got.Load()-base < sent.Load() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return rate
}

// modes measures a mode and, in turn with it, fifo.
func (c *cell) modes() error {
	var m members
	if err := m.start(c.Actors); err != nil {
		return err
	}
	const rounds = 5
	for _, s := range modes { // links, tables and pools
		m.run(s.Name, c.Size, 200*time.Millisecond)
	}
	for range rounds {
		c.Base += m.run(modes[0].Name, c.Size, c.For/rounds) / rounds
		c.PerS += m.run(c.Stack, c.Size, c.For/rounds) / rounds
	}
	return nil
}
