package channelmgr_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// What a receiver reports of flows of an earlier session confirms nothing of
// this one's.
func TestReportOfAPastSession(t *testing.T) {
	a, b, s, join := apart(t, channelmgr.ChannelSpec{Name: "c", Delivery: channelmgr.AtLeastOnce})
	for i := range 3 {
		require.NoError(t, s.Send(text("x", i)))
	}
	s.Report("c", channelmgr.SlotOf("x"), frame.FlowUpdate{Next: 4, Credit: 1000, Epoch: 1 << 40})
	require.Equal(t, 3, s.Kept())
	require.EqualValues(t, 1, a.reg.Stats()["past_reports"])
	join()
	require.Equal(t, []string{"x:0", "x:1", "x:2"}, b.settled(3))
	require.Eventually(t, func() bool { return s.Kept() == 0 }, 10*time.Second, time.Millisecond)
}

// What waits for a slow target goes before what is sent to it in later sessions,
// however many there were between.
func TestParkedBeforeLaterSessions(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			w := newTraffic(t, 1)
			w.calm = true
			w.start()
			a, b := w.n[0], w.n[1]
			send := func(target string) *sent {
				w.mu.Lock()
				s := &sent{id: len(w.all), from: a, to: b, channel: "fifo", target: target}
				w.all = append(w.all, s)
				w.mu.Unlock()
				require.NoError(t, a.reg.Session("b").Send(&channelmgr.Outgoing{Channel: "fifo", Target: target, Msg: wrapperspb.String(strconv.Itoa(s.id))}))
				time.Sleep(time.Second)
				return s
			}
			b.mu.Lock()
			b.shut = make(chan struct{})
			b.mu.Unlock()
			var want []*sent
			for range 50 {
				want = append(want, send("slow"))
			}
			for range 2 {
				a.reg.EndSession(b.reg.Self(), 1, messages.ReasonNodeDown)
				a.reg.Ensure(b.reg.Self(), 1)
				send("x")
			}
			want = append(want, send("slow"))
			b.open()
			time.Sleep(time.Second)
			var got []*sent
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, s := range b.got {
				if s.target == "slow" {
					got = append(got, s)
				}
			}
			require.Equal(t, want, got)
		})
	}
}

// A link on which something waits for a slow target does not idle: nothing is
// sent again.
func TestNoIdleWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTraffic(t, 0) // links idle after 300 ms
		w.calm = true
		w.start()
		a, b := w.n[0], w.n[1]
		a.connect(b.node)
		a.connect(w.n[2].node)
		s := &sent{from: a, to: b, channel: "acked", target: "slow"}
		w.mu.Lock()
		w.all = append(w.all, s)
		w.mu.Unlock()
		b.mu.Lock()
		b.shut = make(chan struct{})
		b.mu.Unlock()
		require.NoError(t, a.reg.Session("b").Send(&channelmgr.Outgoing{Channel: "acked", Target: "slow", Msg: wrapperspb.String("0")}))
		time.Sleep(10 * time.Second)
		require.Zero(t, a.reg.Stats()["retransmitted"])
		b.open()
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		require.Equal(t, []*sent{s}, b.got)
		b.mu.Unlock()
		require.EqualValues(t, 2, a.reg.Stats()["links"], "the control links are left")
	})
}

// Links that idle are closed all the time while a starved process sends on them
// in both directions, also large messages: nothing is lost, and no link ends in
// another way than in order.
func TestIdleWhileStarved(t *testing.T) {
	brief := func(c *channelmgr.Config) {
		c.Channels = []channelmgr.ChannelSpec{{Name: "c", Lanes: 3}}
		c.Timing = channelmgr.Timing{Heartbeat: 20 * time.Millisecond, SilentAfter: time.Minute, IdleAfter: 60 * time.Millisecond}
	}
	n := []*node{start(t, "a", transport.TCP{}, handshake.ModeSecret, brief), start(t, "b", transport.TCP{}, handshake.ModeSecret, brief)}
	n[0].connect(n[1])
	require.Eventually(t, func() bool { return n[1].reg.Session("a") != nil && n[1].reg.Session("a").Linked() }, 10*time.Second, time.Millisecond)
	stop := make(chan struct{})
	var burners, senders sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		burners.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var sent [2]atomic.Int64
	began := time.Now()
	idled := func() bool {
		return n[0].reg.Stats()["link_ended_peer_closed"] > 0 && n[1].reg.Stats()["link_ended_peer_closed"] > 0
	}
	for i, p := range n {
		s := p.reg.Session(n[1-i].reg.Self().Name)
		for k := range 3 {
			senders.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), uint64(k)))
				target := fmt.Sprint("t", k)
				for number := 0; ; {
					many, pause := 1+rng.IntN(10), time.Duration(rng.IntN(200))*time.Millisecond
					late := time.Since(began) - 4*time.Second
					if late > 0 { // a slow machine was too busy for links to idle
						many, pause = 1, 5*pause
						if idled() || late > time.Minute {
							return
						}
					}
					for range many {
						text := strconv.Itoa(number)
						if late < 0 && rng.IntN(10) == 0 {
							text += strings.Repeat(" ", rng.IntN(600<<10))
						}
						if err := s.Send(&channelmgr.Outgoing{Channel: "c", Target: target, Msg: wrapperspb.String(text)}); err != nil {
							t.Error(err)
							return
						}
						sent[i].Add(1)
						number++
					}
					time.Sleep(pause)
				}
			})
		}
	}
	senders.Wait()
	close(stop)
	burners.Wait()
	for i, p := range n {
		want := int(sent[1-i].Load())
		require.Eventually(t, func() bool { return p.count() == want }, 30*time.Second, 10*time.Millisecond, "%d of %d came; %v and %v", p.count(), want, n[0].reg.Stats(), n[1].reg.Stats())
		next := make(map[string]int)
		for _, g := range p.all() {
			target, text, _ := strings.Cut(g, ":")
			require.Equal(t, strconv.Itoa(next[target]), strings.TrimRight(text, " "), "to %s", target)
			next[target]++
		}
		require.NotZero(t, p.reg.Stats()["link_ended_peer_closed"], "links have idled")
		require.Zero(t, p.reg.Stats()["lost"])
	}
}
