//go:build linux && netns

package faultnet

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/internal/linkemu/tun"
)

// R5 and R6 on the kernel's TCP: packets are lost and delayed by times that vary,
// and nobody is suspected, requests are answered, and every message that was
// taken for delivery has arrived once and in order.
func TestR6Links(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and waits for their timeouts")
	}
	bed, err := OpenLinks(3, 1)
	var missing *tun.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bed.Close()) }) // after the processes
	on(t, []Bed{bed}, acked, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		bad := Way{Latency: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}
		for _, pair := range [][2]string{{"a", "b"}, {"b", "c"}, {"a", "c"}} {
			require.NoError(t, w.Both(pair[0], pair[1], bad))
		}
		began := time.Now()
		flows := [][2]*Proc{{a, b}, {b, a}, {b, c}, {c, a}}
		for _, f := range flows {
			w.flow(f[0], f[1], 100, 1000)
		}
		_, p99 := w.requests(a, c, 100)
		w.took("R6", "10 to 30 ms each way, 5 % of the packets lost: 99 of 100 requests are answered within", p99, 0)
		time.Sleep(time.Until(began.Add(long(60*time.Second, 15*time.Second))))
		w.counted("R6", "changes of state", w.disturbed(began), 0)
		require.Zero(t, w.disturbed(began))
		n := bed.Counters()
		require.NotZero(t, n.Lost)
		t.Logf("%+v, late by %+v", n, bed.Lateness())
		w.whole("R6", flows...)
		require.Zero(t, w.disturbed(began))
	})
}
