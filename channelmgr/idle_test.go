package channelmgr_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// BenchmarkIdleLink reports what an end of a link between two nodes costs while
// only heartbeats travel: heap, stack and goroutines, with the session that it
// belongs to. The time per operation means nothing.
func BenchmarkIdleLink(b *testing.B) {
	cmap.SHARD_COUNT = 1
	memory := func() (heap, stack, goroutines int64) {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), int64(m.StackInuse), int64(runtime.NumGoroutine())
	}
	for _, mode := range []handshake.Mode{handshake.ModeInsecure, handshake.ModeSecret} {
		b.Run(fmt.Sprint(mode), func(b *testing.B) {
			const count = 24
			var nodes []*node
			for i := range count {
				nodes = append(nodes, start(b, fmt.Sprintf("n%02d", i), transport.TCP{}, mode))
			}
			heap0, stack0, g0 := memory()
			for i, n := range nodes {
				for _, to := range nodes[i+1:] {
					n.connect(to)
				}
			}
			time.Sleep(3 * time.Second) // heartbeats
			heap, stack, g := memory()
			ends := float64(count * (count - 1))
			require.Less(b, float64(g-g0)/ends, 1.05)
			b.ReportMetric(float64(heap-heap0)/ends/1024, "heap-KiB/end")
			b.ReportMetric(float64(stack-stack0)/ends/1024, "stack-KiB/end")
			b.ReportMetric(float64(g-g0)/ends, "goroutines/end")
		})
	}
}
