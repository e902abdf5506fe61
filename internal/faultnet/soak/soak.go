//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maquis-go/maquis/internal/faultnet"
)

// options of a run.
type options struct {
	length    time.Duration
	processes int
	seed      uint64
	overlay   string
}

func (o options) validate() error {
	if o.processes < steady+1 || o.processes > 64 {
		return fmt.Errorf("--processes %d: use %d to 64", o.processes, steady+1)
	}
	if o.length < 10*time.Second {
		return fmt.Errorf("--for %v: use at least 10s", o.length)
	}
	return nil
}

// Times of a run.
const (
	round      = 2 * time.Minute  // faults, then all must be well again
	recovery   = time.Minute      // until rosters are exact after the last fault
	rest       = 20 * time.Second // until what was under way has arrived
	sampling   = 5 * time.Second
	callWithin = 3 * time.Second
)

// Traffic of each node.
const (
	flowRate      = 50 // messages a second to each of two others
	flowSize      = 200
	callRate      = 10
	broadcastRate = 2
)

// soak is a run.
type soak struct {
	c     *faultnet.Cluster
	o     options
	names []string
	began time.Time
	rep   *Report
	still atomic.Int64 // how long all stood still, since somebody stopped it: that does not count

	mu     sync.Mutex
	series map[string]*samples
	calls  map[uint64]map[string]uint64 // by life, as last seen
	sent   map[uint64]uint64
}

// samples are what was measured of one process that is not killed.
type samples struct{ t, heap, rss, goroutines, files []float64 }

func (s *soak) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%7.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// run soaks a cluster. Its error is that of the run itself; promises that were
// broken are in the report.
func run(ctx context.Context, o options) (*Report, error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := faultnet.New(faultnet.Wrapped{}, faultnet.Options{Dir: dir, Overlay: o.overlay})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s := &soak{c: c, o: o, began: time.Now(), series: make(map[string]*samples), calls: make(map[uint64]map[string]uint64), sent: make(map[uint64]uint64),
		rep: &Report{Processes: o.processes, Overlay: o.overlay, Seed: o.seed, Faults: make(map[string]int), Calls: make(map[string]uint64), Events: make(map[string]int)}}
	for i := range o.processes {
		s.names = append(s.names, fmt.Sprint("n", i))
	}
	for i, name := range s.names {
		if _, err := c.Start(name, s.names[:min(i, steady)]...); err != nil {
			return nil, err
		}
	}
	if _, err := c.UntilExact(recovery, c.Live()...); err != nil {
		return nil, err
	}
	for _, p := range c.Live() {
		if err := s.talk(p); err != nil {
			return nil, err
		}
	}
	measured, stopMeasuring := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		s.measure(measured)
	}()
	err = s.rounds(ctx)
	stopMeasuring()
	wg.Wait()
	if err == nil {
		err = s.finish()
	}
	s.rep.Seconds = (time.Since(s.began) - time.Duration(s.still.Load())).Seconds()
	return s.rep, err
}

// talk starts the traffic of a process.
func (s *soak) talk(p *faultnet.Proc) error {
	i := 0
	for k, name := range s.names {
		if name == p.Name {
			i = k
		}
	}
	orders := []faultnet.Order{{Do: "calls", Rate: callRate, Wait: callWithin}, {Do: "broadcasts", Rate: broadcastRate, Size: flowSize}}
	for _, d := range []int{1, 3} {
		orders = append(orders, faultnet.Order{Do: "flow", Node: s.names[(i+d)%len(s.names)], Rate: flowRate, Size: flowSize})
	}
	for _, o := range orders {
		if err := p.Tell(o); err != nil {
			return err
		}
	}
	return nil
}

// rounds makes faults until the time is over, and sees in between that all is
// well again without them.
func (s *soak) rounds(ctx context.Context) error {
	m := &mischief{c: s.c, names: s.names, say: s.say, again: s.talk, dice: rand.New(rand.NewPCG(s.o.seed, 0)), busy: make(map[string]bool), count: s.rep.Faults}
	for end := s.began.Add(s.o.length); ; {
		left := time.Until(end) + time.Duration(s.still.Load())
		if left <= 0 {
			return nil
		}
		faults, stop := context.WithTimeout(ctx, min(left, round))
		err := m.run(faults)
		stop()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.c.Heal(); err != nil {
			return err
		}
		took, err := s.c.UntilExact(recovery, s.c.Live()...)
		if err != nil {
			s.rep.violate("%v after the last fault: %v", took.Round(time.Millisecond), err)
		}
		s.rep.Recoveries = append(s.rep.Recoveries, took.Seconds())
		s.say("no faults: all know all after %v", took.Round(10*time.Millisecond))
		s.take()
	}
}

// measure samples all processes until ctx ends.
func (s *soak) measure(ctx context.Context) {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if d := time.Since(last) - 3*sampling; d > 0 {
			s.still.Add(int64(d))
			s.say("everything stood still for %v", d)
		}
		var wg sync.WaitGroup
		for _, p := range s.c.Live() {
			if p.Suspended() || p.Life() == 0 {
				continue
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				if st, err := p.Stats(); err == nil { // it may have been killed meanwhile
					s.sample(p, st)
				}
			}()
		}
		wg.Wait()
		last = time.Now()
	}
}

func (s *soak) sample(p *faultnet.Proc, st faultnet.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[p.Life()], s.sent[p.Life()] = st.Calls, st.Sent
	for _, name := range s.names[:steady] {
		if name != p.Name {
			continue
		}
		x := s.series[name]
		if x == nil {
			x = &samples{}
			s.series[name] = x
		}
		x.t = append(x.t, time.Since(s.began).Seconds())
		x.heap, x.rss = append(x.heap, float64(st.Heap)), append(x.rss, float64(st.RSS))
		x.goroutines, x.files = append(x.goroutines, float64(st.Goroutines)), append(x.files, float64(st.Files))
	}
}

// take counts the events so far and forgets them.
func (s *soak) take() {
	now := time.Now()
	for _, e := range s.c.Events(time.Time{}, func(e faultnet.Event) bool { return e.At.Before(now) }) {
		s.rep.Events[e.Event]++
		if e.Event == "skipped" {
			s.say("%s skipped broadcasts of %s at %.1fs: %s", e.By, e.Node, e.At.Sub(s.began).Seconds(), e.Detail)
		}
		if e.Event == "violation" || e.Event == "failed" || e.Event == "ended" {
			s.rep.violate("%s: %s %s", e.By, e.Event, e.Detail)
		}
	}
	s.c.Forget(now)
}

// finish ends the traffic, waits for what is under way, and settles accounts.
func (s *soak) finish() error {
	live := s.c.Live()
	for _, p := range live {
		orders := []faultnet.Order{{Do: "calls"}, {Do: "broadcasts"}}
		for _, name := range s.names {
			orders = append(orders, faultnet.Order{Do: "flow", Node: name})
		}
		for _, o := range orders {
			if _, err := p.Ask(o, 10*time.Second); err != nil {
				return err
			}
		}
	}
	for end := time.Now().Add(rest); ; time.Sleep(500 * time.Millisecond) {
		var err error
		if s.rep.Messages, err = s.c.Audit(); err != nil {
			return err
		}
		if len(s.rep.Messages.Violations) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, v := range s.rep.Messages.Violations {
		s.rep.violate("%s", v)
	}
	s.rep.Messages.Violations = nil
	errs := []error{s.broadcasts(live)}
	s.take()
	for _, calls := range s.calls {
		for what, n := range calls {
			s.rep.Calls[what] += n
		}
	}
	for _, n := range s.sent {
		s.rep.Broadcasts += n
	}
	s.fits()
	return errors.Join(errs...)
}

// broadcasts checks that the last broadcast of each has reached all: nobody was
// cut off any more when it was made.
func (s *soak) broadcasts(live []*faultnet.Proc) error {
	for end := time.Now().Add(rest); ; time.Sleep(500 * time.Millisecond) {
		var missing []string
		stats := make(map[string]faultnet.Stats)
		for _, p := range live {
			st, err := p.Stats()
			if err != nil {
				return err
			}
			stats[p.Name] = st
			s.sample(p, st)
		}
		for _, p := range live {
			if stats[p.Name].Sent == 0 {
				continue // its life is younger than its traffic
			}
			for _, q := range live {
				if h := stats[q.Name].Broadcasts[p.Name]; h.Life != p.Life() || h.Last != stats[p.Name].Sent {
					missing = append(missing, fmt.Sprintf("the last broadcast of %s that %s has is %d of life %d, not %d of life %d", p.Name, q.Name, h.Last, h.Life, stats[p.Name].Sent, p.Life()))
				}
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for _, v := range missing {
				s.rep.violate("%s", v)
			}
			for _, p := range live { // for whoever looks for the reason
				s.say("%s of life %d has %d neighbors, %v", p.Name, p.Life(), stats[p.Name].Neighbors, stats[p.Name].Counters)
			}
			return nil
		}
	}
}

// show tells what a process's goroutines are, for whoever looks for the reason.
func (s *soak) show(name string) {
	for _, p := range s.c.Live() {
		if p.Name == name {
			stacks, err := p.Goroutines()
			s.say("%s at the end: %s %v", name, stacks, err)
		}
	}
}

// fits judges whether anything grows, after a warm-up of a fifth of the time.
func (s *soak) fits() {
	for _, name := range s.names[:steady] {
		x := s.series[name]
		if x == nil {
			continue
		}
		k := len(x.t) / 5
		for _, y := range []struct {
			what  string
			v     []float64
			least bool
			floor float64
		}{{"heap and stacks, bytes", x.heap, false, 512 << 10}, {"heap and stacks at their least, bytes", x.heap, true, 256 << 10}, {"resident memory, bytes", x.rss, false, 8 << 20}, {"goroutines", x.goroutines, false, 5}, {"descriptors", x.files, false, 3}} {
			t, v := blocks(x.t[k:], y.v[k:], y.least)
			f := fit(name, y.what, t, v, y.floor)
			s.rep.Fits = append(s.rep.Fits, f)
			if f.Grows {
				s.rep.violate("%s: %s grow by %.0f in ten minutes, %.1f %%", f.Process, f.What, f.Per10Min, 100*f.Per10Min/f.Mean)
				s.show(name)
			}
		}
	}
}
