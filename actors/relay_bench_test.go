package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// line starts nodes of which each has links to the ones before and after it, and
// returns them and how much the last has received. Messages from the first to
// the last travel by the policy.
func line(b *testing.B, nodes int, policy string, shortcuts int) (all []*maquis.Distribution, system *actor.ActorSystem, got *atomic.Int64) {
	b.Helper()
	got = new(atomic.Int64)
	name := func(i int) string { return fmt.Sprint("n", i) }
	var seed string
	for i := range nodes {
		spec := maquis.OverlaySpec{Kind: maquis.Static}
		for _, k := range []int{i - 1, i + 1} {
			if k >= 0 && k < nodes {
				spec.Neighbors = append(spec.Neighbors, name(k))
			}
		}
		s := quietSystem()
		opts := []maquis.Option{
			maquis.WithProfile("test"), maquis.WithName(name(i)), maquis.WithSecret(secret), maquis.WithOverlays(spec), maquis.WithRouting(policy, shortcuts), maquis.WithLogger(slog.New(slog.DiscardHandler)),
		}
		if seed != "" {
			opts = append(opts, maquis.WithSeeds(seed))
		}
		d, err := maquis.Start(context.Background(), s, opts...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { d.Kill(); s.Shutdown() })
		seed = d.Self().Addrs[0]
		all = append(all, d)
		if i == 0 {
			system = s
		}
		if i == nodes-1 {
			_, _ = s.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			}), "sink")
		}
	}
	for _, d := range all {
		if err := d.WaitForMembers(context.Background(), nodes); err != nil {
			b.Fatal(err)
		}
	}
	return all, system, got
}

// One-way messages from one sender to one actor: to a neighbor, over one relay
// and over two, and to a node that gets a shortcut. Compare the first with the
// others of the same run. The last also tells after how long the shortcut carried
// the flow.
func BenchmarkRelayed(b *testing.B) {
	for _, size := range []int{64, 16 << 10} {
		for _, c := range []struct {
			name, policy     string
			nodes, shortcuts int
		}{{"direct", "relay", 2, 0}, {"hops=2", "relay", 3, 0}, {"hops=3", "relay", 4, 0}, {"adaptive", "adaptive", 3, 4}} {
			b.Run(fmt.Sprintf("%dB/%s", size, c.name), func(b *testing.B) {
				all, system, got := line(b, c.nodes, c.policy, c.shortcuts)
				pid := all[0].PID(fmt.Sprint("n", c.nodes-1), "sink")
				msg := wrapperspb.Bytes(make([]byte, size))
				send := func(n int64) {
					base := got.Load()
					for i := int64(1); i <= n; i++ {
						for base+i-got.Load() > 2000 {
							time.Sleep(50 * time.Microsecond)
						}
						system.Root.Send(pid, msg)
					}
					for deadline := time.Now().Add(time.Minute); got.Load() < base+n; time.Sleep(50 * time.Microsecond) {
						if time.Now().After(deadline) {
							b.Fatalf("%d of %d messages arrived", got.Load()-base, n)
						}
					}
				}
				began, took := time.Now(), time.Duration(0)
				send(1)
				if c.policy == "adaptive" {
					for relayed := uint64(1); relayed > 0; took = time.Since(began) {
						if took > 30*time.Second {
							b.Fatal("no shortcut was opened")
						}
						before := all[1].Stats()["relayed"]
						send(5000)
						relayed = all[1].Stats()["relayed"] - before
					}
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				send(int64(b.N))
				b.StopTimer()
				if took > 0 {
					b.ReportMetric(took.Seconds(), "s-to-shortcut")
				}
			})
		}
	}
}
