//go:build linux

package faultnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// calls are requests to random nodes, and what became of them.
type calls struct {
	mu   sync.Mutex
	done map[string]uint64
	stop chan struct{}
}

func (k *calls) counts() map[string]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.done)
}

// run begins or ends calls at a rate, each with a time.
func (k *calls) run(n *node, o Order) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done == nil {
		k.done = make(map[string]uint64)
	}
	if k.stop != nil {
		close(k.stop)
		k.stop = nil
	}
	if o.Rate > 0 {
		k.stop = make(chan struct{})
		go k.make(n, k.stop, o)
	}
}

// patience is by how much a call may outlast its time on a busy machine.
const patience = 2 * time.Second

func (k *calls) make(n *node, stop chan struct{}, o Order) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
	defer tick.Stop()
	slots := make(chan struct{}, 64)
	for number := int64(1); ; number++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		list := n.NodeList()
		if len(list) == 0 {
			continue
		}
		to := list[rand.IntN(len(list))]
		select {
		case slots <- struct{}{}:
		default:
			continue // enough of them wait
		}
		go func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(context.Background(), o.Wait)
			defer cancel()
			stood := n.stood()
			began := time.Now()
			r, err := maquis.Call[*wrapperspb.Int64Value](ctx, n.Distribution, n.PID(to, "echo"), wrapperspb.Int64(number))
			what := "unconfirmed"
			switch {
			case err == nil && r.Value != number:
				what = "wrong"
				n.violation("a call of %s was answered %d, not %d", to, r.Value, number)
			case err == nil:
				what = "answered"
			case errors.Is(err, maquis.ErrDeadLetter):
				what = "dead"
			case !errors.Is(err, maquis.ErrUnconfirmed):
				what = "refused"
			}
			took, late := time.Since(began), func(took time.Duration) bool { return took-(n.stood()-stood) > o.Wait+patience }
			if late(took) {
				time.Sleep(time.Second) // this process may have stood still, and its clock not have seen that yet
			}
			if late(took) {
				n.violation("a call of %s took %v, not %v", to, took, o.Wait)
			}
			k.mu.Lock()
			k.done[what]++
			k.mu.Unlock()
		}()
	}
}

// heard are the broadcasts of this node and to it.
type heard struct {
	mu   sync.Mutex
	from map[string]*Heard
	past map[uint64]bool // lives of which some were heard before those of a later life
	sent uint64
	stop chan struct{}
}

func (h *heard) counts() (map[string]Heard, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]Heard, len(h.from))
	for name, x := range h.from {
		all[name] = *x
	}
	return all, h.sent
}

// props is the subscriber: numbers of one life must grow, and no life come back.
func (h *heard) props(n *node) *actor.Props {
	h.from, h.past = make(map[string]*Heard), make(map[uint64]bool)
	return actor.PropsFromFunc(func(c actor.Context) {
		from, life, number, ok := parseNumbered(c.Message())
		if !ok {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		x := h.from[from]
		switch {
		case x == nil || x.Life != life:
			if h.past[life] {
				n.violation("broadcast %d of %s is of life %d, after %d of life %d", number, from, life, x.Last, x.Life)
			}
			if x != nil {
				h.past[x.Life] = true
			}
			x = &Heard{Life: life, First: number}
			h.from[from] = x
		case number <= x.Last:
			n.violation("broadcast %d of %s came after its %d", number, from, x.Last)
		case number > x.Last+1:
			n.say(Line{Event: "skipped", Node: from, Detail: fmt.Sprintf("%d to %d", x.Last+1, number-1)})
		}
		x.Last = number
		x.Count++
	})
}

// run begins or ends broadcasts at a rate.
func (h *heard) run(n *node, o Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil {
		close(h.stop)
		h.stop = nil
	}
	if o.Rate > 0 {
		h.stop = make(chan struct{})
		go h.make(n, h.stop, o)
	}
}

func (h *heard) make(n *node, stop chan struct{}, o Order) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		h.mu.Lock()
		h.sent++
		number := h.sent
		h.mu.Unlock()
		if err := n.Broadcast("data", n.flows.numbered(number, o.Size)); err != nil {
			n.say(Line{Event: "unsent", Detail: err.Error()})
			h.mu.Lock()
			h.sent = number - 1
			h.mu.Unlock()
		}
	}
}
