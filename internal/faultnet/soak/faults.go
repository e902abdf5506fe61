//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/maquis-go/maquis/internal/faultnet"
)

// mischief makes random faults, two at a time, each of which ends.
type mischief struct {
	c     *faultnet.Cluster
	names []string
	say   func(format string, args ...any)
	again func(p *faultnet.Proc) error // traffic of a new life

	mu    sync.Mutex
	dice  *rand.Rand
	busy  map[string]bool // nodes that stand still or are dead
	count map[string]int
	err   error
}

// steady is how many of the first nodes are not killed: their memory is what is
// watched.
const steady = 3

// atOnce is how many faults there are at a time.
const atOnce = 2

// run makes faults until ctx ends, then ends all of them.
func (m *mischief) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range atOnce {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				m.pause(ctx, time.Second, 8*time.Second)
				if ctx.Err() != nil {
					return
				}
				if err := m.one(ctx); err != nil {
					m.mu.Lock()
					m.err = err
					m.mu.Unlock()
					return
				}
			}
		}()
	}
	wg.Wait()
	return m.err
}

// between draws a time.
func (m *mischief) between(least, most time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return least + time.Duration(m.dice.Int64N(int64(most-least)))
}

// pause waits for a random time, or until ctx ends.
func (m *mischief) pause(ctx context.Context, least, most time.Duration) {
	t := time.NewTimer(m.between(least, most))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// pick draws a kind of fault and whom it hits.
func (m *mischief) pick() (kind string, a, b string, part float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kinds := []string{"loss", "loss", "stop", "kill", "kill", "cut", "one way", "partition", "reset", "reset"}
	kind = kinds[m.dice.IntN(len(kinds))]
	i := m.dice.IntN(len(m.names))
	if kind == "kill" {
		i = steady + m.dice.IntN(len(m.names)-steady)
	}
	a, b = m.names[i], m.names[(i+1+m.dice.IntN(len(m.names)-1))%len(m.names)]
	if kind == "kill" || kind == "stop" {
		if m.busy[a] {
			kind = "none"
		}
		m.busy[a] = true
	}
	m.count[kind]++
	return kind, a, b, 0.01 + 0.09*m.dice.Float64()
}

func (m *mischief) free(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.busy, name)
}

// proc is a node's present process.
func (m *mischief) proc(name string) *faultnet.Proc {
	for _, p := range m.c.Live() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// one makes a fault and ends it.
func (m *mischief) one(ctx context.Context) error {
	kind, a, b, part := m.pick()
	c := m.c
	switch kind {
	case "none":
		m.mu.Lock()
		delete(m.count, kind)
		m.mu.Unlock()
	case "loss":
		m.say("%.0f %% of the packets between %s and %s are lost", part*100, a, b)
		if err := c.Lose(a, b, part); err != nil {
			return err
		}
		m.pause(ctx, 5*time.Second, 20*time.Second)
		return c.Restore(a, b)
	case "reset":
		m.say("%s and %s: connections reset", a, b)
		return c.Reset(a, b)
	case "cut":
		m.say("%s and %s are cut off from each other", a, b)
		if err := c.Cut(a, b); err != nil {
			return err
		}
		m.pause(ctx, 2*time.Second, time.Minute)
		return c.Restore(a, b)
	case "one way":
		m.say("nothing goes from %s to %s", a, b)
		if err := c.CutOneWay(a, b); err != nil {
			return err
		}
		m.pause(ctx, 2*time.Second, 30*time.Second)
		return c.Restore(a, b)
	case "partition":
		k := 1 + int(part*100)%(len(m.names)/2)
		left, right := m.names[:k], m.names[k:]
		m.say("%d nodes are cut off from %d", len(left), len(right))
		if err := c.Partition(left, right); err != nil {
			return err
		}
		m.pause(ctx, 2*time.Second, 50*time.Second)
		return c.Heal()
	case "stop":
		defer m.free(a)
		p := m.proc(a)
		if p == nil {
			return fmt.Errorf("%s does not run", a)
		}
		m.say("%s stands still", a)
		if err := p.Suspend(); err != nil {
			return err
		}
		m.pause(ctx, 300*time.Millisecond, 15*time.Second)
		return p.Resume()
	case "kill":
		defer m.free(a)
		p := m.proc(a)
		if p == nil {
			return fmt.Errorf("%s does not run", a)
		}
		m.say("%s is killed", a)
		if err := p.Kill(); err != nil {
			return err
		}
		m.pause(ctx, 10*time.Millisecond, 8*time.Second)
		p, err := c.Start(a, m.names[:steady]...)
		if err != nil {
			return err
		}
		m.say("%s is started again", a)
		return m.again(p)
	}
	return nil
}
