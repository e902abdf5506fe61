package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	cmap "github.com/orcaman/concurrent-map"

	"github.com/asynkron/protoactor-go/actor"

	maquis "github.com/maquis-go/maquis/actors"
)

// TestMesh50 is a full mesh of 50 nodes in one process: what it costs above 50
// empty actor systems. Run it by itself: go test -run Mesh -v .
func TestMesh50(t *testing.T) {
	cmap.SHARD_COUNT = 1
	for _, mode := range []struct {
		name string
		opt  maquis.Option
	}{{"insecure", maquis.WithInsecure()}, {"tls", maquis.WithSecret(secret)}} {
		t.Run(mode.name, func(t *testing.T) {
			const n = 50
			var systems []*actor.ActorSystem
			for range n {
				systems = append(systems, newSystem())
			}
			heap0, stack0, g0 := memory()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			began := time.Now()
			var nodes []*maquis.Distribution
			for i, s := range systems {
				opts := []maquis.Option{maquis.WithProfile("test"), mode.opt, maquis.WithName(fmt.Sprintf("n%02d", i)), maquis.WithLogger(slog.New(slog.DiscardHandler))}
				if i > 0 {
					opts = append(opts, maquis.WithSeeds(nodes[0].Self().Addrs[0]))
				}
				d, err := maquis.Start(ctx, s, opts...)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Stop(ctx)
				nodes = append(nodes, d)
			}
			for _, d := range nodes {
				if err := d.WaitForMembers(ctx, n); err != nil {
					t.Fatal(err)
				}
			}
			for neighbors := 0; neighbors < n*(n-1); {
				neighbors = 0
				for _, d := range nodes {
					neighbors += d.Health().Neighbors
				}
				if ctx.Err() != nil {
					t.Fatal("the mesh is not complete")
				}
				time.Sleep(10 * time.Millisecond)
			}
			built := time.Since(began)
			time.Sleep(3 * time.Second)
			heap, stack, g := memory()
			ends := uint64(0)
			for _, d := range nodes {
				ends += d.Stats()["links"]
			}
			t.Logf("%s: %d goroutines, heap %.1f MB and stack %.1f MB above %d empty systems, %d connections, built in %v; per link end %.1f KiB, %.2f goroutines",
				mode.name, g-g0, float64(heap-heap0)/1e6, float64(stack-stack0)/1e6, n, ends/2, built.Round(time.Millisecond),
				float64(heap-heap0+stack-stack0)/float64(max(ends, 1))/1024, float64(g-g0)/float64(max(ends, 1)))
		})
	}
}

func memory() (heap, stack int64, goroutines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse), runtime.NumGoroutine()
}
