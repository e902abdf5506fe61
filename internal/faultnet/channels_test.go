//go:build linux

package faultnet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// whole ends flows and requires that all that was sent has arrived, once and in order.
func (w *world) whole(id string, flows ...[2]*Proc) {
	w.t.Helper()
	x := w.settle(flows...)
	w.counted(id, fmt.Sprintf("messages of %d missing, acknowledged channel", x.Sent), int(x.Missing+x.Undelivered), 0)
	w.counted(id, "messages twice or out of order", int(x.Duplicates+x.Disorder), 0)
	require.Zero(w.t, x.Missing+x.Undelivered)
}

// R4: a link that goes and comes changes nobody's state and costs nothing that
// lasts.
func TestR4Flapping(t *testing.T) {
	each(t, acked, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, b := w.procs[0], w.procs[1]
		w.flow(a, b, 100, 1000)
		w.flow(b, a, 100, 1000)
		time.Sleep(time.Second)
		before, err := a.Stats()
		require.NoError(t, err)
		began := time.Now()
		times := 10
		if *full {
			times = 100
		}
		for range times {
			require.NoError(t, w.Cut("a", "b"))
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, w.Restore("a", "b"))
			time.Sleep(500 * time.Millisecond)
		}
		per := float64(w.disturbed(began)) / time.Since(began).Minutes()
		w.figure("R4", fmt.Sprintf("half a second on and off, %d times: changes of state a minute", times), fmt.Sprintf("%.1f", per), "≤ 2", per <= 2)
		require.Zero(t, w.count(began, "", "down", ""))
		w.whole("R4", [2]*Proc{a, b}, [2]*Proc{b, a})
		after, err := a.Stats()
		require.NoError(t, err)
		w.counted("R4", "descriptors more than before", max(after.Files-before.Files, 0), 8)
		require.Less(t, after.Files-before.Files, 50)
	})
}

// R5: with packets lost, what is acknowledged arrives, and requests are answered.
func TestR5Loss(t *testing.T) {
	each(t, acked, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, b := w.procs[0], w.procs[1]
		w.flow(a, b, 200, 1000)
		w.flow(b, a, 200, 1000)
		began := time.Now()
		for _, loss := range []float64{0.01, 0.05, 0.1} {
			require.NoError(t, w.Lose("a", "b", loss))
			_, p99 := w.requests(a, b, 100)
			bound := time.Second
			if loss > 0.05 {
				bound = 0
			}
			w.took("R5", fmt.Sprintf("%.0f %% of the packets lost: 99 of 100 requests are answered within", 100*loss), p99, bound)
		}
		require.NoError(t, w.Heal())
		w.counted("R5", "evictions", w.count(began, "", "down", ""), 0)
		if w.count(began, "", "down", "") == 0 {
			w.whole("R5", [2]*Proc{a, b}, [2]*Proc{b, a})
		}
	})
}

// R6: delays that vary reorder nothing.
func TestR6Delay(t *testing.T) {
	wrapped(t, acked, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, w.Both("a", "b", Way{Latency: 30 * time.Millisecond, Jitter: 40 * time.Millisecond}))
		began := time.Now()
		w.flow(a, b, 500, 1000)
		w.flow(b, a, 500, 1000)
		_, p99 := w.requests(a, b, 50)
		w.took("R6", "50 ± 20 ms each way: 99 of 100 requests are answered within", p99, 300*time.Millisecond)
		w.counted("R6", "changes of state", w.disturbed(began), 0)
		w.whole("R6", [2]*Proc{a, b}, [2]*Proc{b, a})
	})
}

// R7: a line that is too narrow for what is sent holds up who sends, and nobody
// else.
func TestR7Narrow(t *testing.T) {
	wrapped(t, Options{Flow: FlowChannel{QueueLen: 50}}, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, w.Both("a", "b", Way{Rate: 125_000}))
		began := time.Now()
		w.flow(a, b, 100, 10_000) // eight times what fits
		time.Sleep(time.Second)
		_, p99 := w.requests(a, b, 50)
		w.took("R7", "1 Mbit/s, eight times as much is sent: 99 of 100 requests are answered within", p99, 500*time.Millisecond)
		time.Sleep(time.Until(began.Add(long(30*time.Second, 10*time.Second))))
		w.counted("R7", "changes of state", w.disturbed(began), 0)
		require.Zero(t, w.count(began, "", "down", ""))
		s, err := a.Stats()
		require.NoError(t, err)
		w.counted("R7", "memory of the sender, MiB", int(s.RSS>>20), 128)
		require.NoError(t, w.Heal())
		x := w.settle([2]*Proc{a, b})
		w.counted("R7", "messages twice or out of order", int(x.Duplicates+x.Disorder), 0)
	})
}

// R8: what is damaged on its way is noticed, and ends no more than the connection.
func TestR8Corruption(t *testing.T) {
	wrapped(t, acked, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		w.flow(a, b, 1000, 1000)
		w.flow(b, a, 1000, 1000)
		began := time.Now()
		require.NoError(t, w.Both("a", "b", Way{Corrupt: 0.005}))
		time.Sleep(long(30*time.Second, 10*time.Second))
		require.NoError(t, w.Heal())
		ended := 0
		for _, p := range w.procs {
			s, err := p.Stats()
			require.NoError(t, err)
			ended += int(s.Counters["link_ended_reset"])
		}
		w.figure("R8", "a bit turned over in one of 200 pieces: links that it ended", fmt.Sprint(ended), "–", true)
		require.NotZero(t, ended)
		w.counted("R8", "evictions", w.count(began, "", "down", ""), 0)
		if w.count(began, "", "down", "") == 0 {
			w.whole("R8", [2]*Proc{a, b}, [2]*Proc{b, a}) // that nothing came which was not sent is part of it
		}
	})
}

// R17: a peer that stops reading holds up what is sent to it, and nothing else.
func TestR17SlowReader(t *testing.T) {
	each(t, acked, func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		_, before := w.requests(a, b, 200)
		w.flow(a, c, 400, 20_000)
		_, beside := w.requests(a, b, 200)
		began := time.Now()
		var worst time.Duration
		for range 5 {
			require.NoError(t, c.Suspend())
			_, p99 := w.requests(a, b, 200)
			time.Sleep(time.Until(began.Add(time.Second)))
			require.NoError(t, c.Resume())
			time.Sleep(300 * time.Millisecond)
			worst, began = max(worst, p99), time.Now()
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
		w.figure("R17", "99 of 100 requests to another, without that traffic, within", ms(before), "–", true)
		w.figure("R17", "with it, and a peer that reads", ms(beside), "–", true)
		bound := beside + beside/10 + 5*time.Millisecond
		w.figure("R17", "with it, while the peer does not read for a second: the worst of five times", ms(worst), "≤ "+ms(bound), worst <= bound)
		w.whole("R17", [2]*Proc{a, c})
	})
}

// R18: an actor that cannot keep up holds up who sends to it: memory stays
// bounded, and nothing else waits.
func TestR18SlowActor(t *testing.T) {
	each(t, Options{Flow: FlowChannel{QueueLen: 100}}, func(t *testing.T, w *world) {
		w.start("a", "b")
		a, b := w.procs[0], w.procs[1]
		before, err := b.Stats()
		require.NoError(t, err)
		_, quiet := w.requests(a, b, 100)
		began := time.Now()
		_, err = a.Ask(Order{Do: "flow", Node: "b", Rate: 5000, Size: 1000, Actor: "slow"}, 10*time.Second)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		_, p99 := w.requests(a, b, 100)
		w.took("R18", "99 of 100 requests, without that traffic, within", quiet, 0)
		w.took("R18", "ten times as much as an actor handles is sent to it: 99 of 100 requests to another within", p99, 100*time.Millisecond)
		time.Sleep(time.Until(began.Add(long(30*time.Second, 10*time.Second))))
		after, err := b.Stats()
		require.NoError(t, err)
		w.counted("R18", "memory of its node grown by, MiB", (int(after.RSS)-int(before.RSS))>>20, 32)
		w.counted("R18", "changes of state", w.disturbed(began), 0)
		x := w.settle([2]*Proc{a, b})
		w.counted("R18", "messages missing, twice or out of order", int(x.Missing+x.Duplicates+x.Disorder), 0)
		require.Zero(t, x.Missing)
	})
}
