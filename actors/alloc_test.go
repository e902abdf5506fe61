package actors_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Sending allocates nothing, receiving no more than the message and its bytes.
// Both ends are in this process, so that the sum is what is measured.
func TestAllocations(t *testing.T) {
	n := cluster(t, nil, "a", "b")
	var got atomic.Int64
	_, err := n[1].system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
			got.Add(1)
		}
	}), "sink")
	require.NoError(t, err)
	pid, msg := n[0].PID("b", "sink"), wrapperspb.Bytes(make([]byte, 64))
	send := func(k int64) {
		want := got.Load() + k
		for range k {
			n[0].system.Root.Send(pid, msg)
		}
		if !assert.Eventually(t, func() bool { return got.Load() == want }, 20*time.Second, time.Millisecond) {
			t.Fatalf("%d of %d came; at the sender %v; at the receiver %v", got.Load(), want, n[0].Stats(), n[1].Stats())
		}
	}
	send(50_000) // tables, pools and buffers fill
	var before, after runtime.MemStats
	const count = 100_000
	runtime.ReadMemStats(&before)
	send(count)
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, float64(after.Mallocs-before.Mallocs)/count, 2.2)
}
