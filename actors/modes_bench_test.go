package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// group starts nodes on loopback TCP in one process, each with a sink per other
// node, and counts what the sinks get.
func group(b *testing.B, n int, got *atomic.Int64) (nodes []*maquis.Distribution, systems []*actor.ActorSystem) {
	b.Helper()
	for i := range n {
		opts := []maquis.Option{
			maquis.WithProfile("test"), maquis.WithName(fmt.Sprint("n", i)), maquis.WithInsecure(), maquis.WithLogger(slog.New(slog.DiscardHandler)),
			maquis.WithChannels(
				maquis.ChannelSpec{Name: "fifo"},
				maquis.ChannelSpec{Name: "latest", Ordering: maquis.Monotonic},
				maquis.ChannelSpec{Name: "acked", Delivery: maquis.AtLeastOnce},
				maquis.ChannelSpec{Name: "causal", Delivery: maquis.AtLeastOnce, Ordering: maquis.Causal},
			),
		}
		if i > 0 {
			opts = append(opts, maquis.WithSeeds(nodes[0].Self().Addrs[0]))
		}
		system := quietSystem()
		d, err := maquis.Start(context.Background(), system, opts...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = d.Stop(context.Background()); system.Shutdown() })
		nodes, systems = append(nodes, d), append(systems, system)
		for _, id := range ids {
			_, _ = system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			}), id)
		}
	}
	for _, d := range nodes {
		if err := d.WaitForMembers(context.Background(), n); err != nil {
			b.Fatal(err)
		}
	}
	return nodes, systems
}

// One-way messages of 64 bytes on channels of each mode, among 2, 3 and 16 nodes:
// every node sends to all others in turn. Modes are to be compared within one
// run.
func BenchmarkModes64(b *testing.B) {
	for _, n := range []int{2, 3, 16} {
		var got atomic.Int64
		var nodes []*maquis.Distribution
		var systems []*actor.ActorSystem
		start := sync.OnceFunc(func() { nodes, systems = group(b, n, &got) })
		for _, mode := range []string{"fifo", "acked", "causal"} {
			b.Run(fmt.Sprintf("%d-nodes/%s", n, mode), func(b *testing.B) {
				start()
				msg := wrapperspb.Bytes(make([]byte, 64))
				run := func(count int64) {
					base := got.Load()
					var sent atomic.Int64
					var wg sync.WaitGroup
					for i := range nodes {
						wg.Add(1)
						go func() {
							defer wg.Done()
							var pids []*actor.PID
							for k := 1; k < n; k++ {
								pids = append(pids, nodes[i].PID(fmt.Sprint("n", (i+k)%n), ids[i], maquis.WithChannel(mode)))
							}
							for k := 0; ; k++ {
								m := sent.Add(1)
								if m > count {
									return
								}
								for m-(got.Load()-base) > 10_000 {
									time.Sleep(50 * time.Microsecond)
								}
								systems[i].Root.Send(pids[k%len(pids)], msg)
							}
						}()
					}
					wg.Wait()
					for got.Load()-base < count {
						time.Sleep(50 * time.Microsecond)
					}
				}
				run(5_000) // links, tables and pools
				b.ReportAllocs()
				b.ResetTimer()
				run(int64(b.N))
			})
		}
	}
}

// Deliver, one after the other, and from many goroutines.
func BenchmarkDeliver64(b *testing.B) {
	for _, outstanding := range []int{1, 256} {
		b.Run(fmt.Sprint(outstanding), func(b *testing.B) {
			var got atomic.Int64
			nodes, _ := group(b, 2, &got)
			pid, msg := nodes[0].PID("n1", "s00"), wrapperspb.Bytes(make([]byte, 64))
			b.ReportAllocs()
			b.ResetTimer()
			var n atomic.Int64
			var wg sync.WaitGroup
			for range outstanding {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for n.Add(1) <= int64(b.N) {
						if err := nodes[0].Deliver(context.Background(), pid, msg); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
		})
	}
}
