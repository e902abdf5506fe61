package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// result is what one measure found.
type result struct {
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	P50us    float64 `json:"p50_us"`
	P99us    float64 `json:"p99_us"`
	BulkMBs  float64 `json:"bulk_mb_s"`
	CPUus    float64 `json:"cpu_us"` // a message, both processes
}

// params of a measure.
type params struct {
	kind     string // oneway, request, call, ping
	size     int
	senders  int // or outstanding
	vt       bool
	channel  string
	duration time.Duration
}

const sinks = 16

// window is how many messages are on their way at most.
func window(size int) int { return max(64, min(10000, (64<<20)/max(size, 1))) }

// serve spawns the actors of the server. A sink is told whom to tell, and how
// often.
func serve(n *node) {
	for i := range sinks {
		var got, every int64
		var ack *actor.PID
		_, _ = n.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			switch m := c.Message().(type) {
			case *actor.PID:
				ack = m
			case *wrapperspb.Int64Value:
				every = m.Value
			case interface{ GetValue() []byte }:
				if got++; got == every {
					c.Send(ack, wrapperspb.Int64(got))
					got = 0
				}
			}
		}), fmt.Sprint("sink", i))
	}
	_, _ = n.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *wrapperspb.BytesValue, *Fast:
			c.Respond(m)
		}
	}), "echo")
}

func message(p params) proto.Message {
	b := make([]byte, p.size)
	for i := range b {
		b[i] = byte(i * 31)
	}
	if p.vt {
		return &Fast{Value: b}
	}
	return wrapperspb.Bytes(b)
}

// run takes a measure at the client.
func run(n *node, p params) result {
	switch p.kind {
	case "oneway":
		return oneway(n, p, p.duration, nil)
	case "ping":
		return ping(n, p)
	}
	return requests(n, p)
}

// oneway sends from goroutines, each to an actor of its own, and counts what
// the sinks acknowledge. A sender waits when its part of the window is full.
func oneway(n *node, p params, d time.Duration, stop *atomic.Bool) result {
	limit := int64(max(8, window(p.size)/p.senders))
	end := time.Now().Add(d + 200*time.Millisecond)
	payload := make([]byte, p.size)
	var total atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for s := range p.senders {
		var acked atomic.Int64
		room := make(chan struct{}, 1)
		ack := n.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().(*wrapperspb.Int64Value); ok {
				acked.Add(m.Value)
				total.Add(m.Value)
				select {
				case room <- struct{}{}:
				default:
				}
			}
		}))
		pid := n.pid(fmt.Sprint("sink", s%sinks), p.channel)
		n.system.Root.Send(pid, ack)
		n.system.Root.Send(pid, wrapperspb.Int64(max(1, limit/4)))
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-begin
			late := time.NewTimer(time.Until(end))
			defer late.Stop()
			for sent := int64(1); ; sent++ {
				if sent%64 == 0 && (time.Now().After(end) || stop != nil && stop.Load()) {
					return
				}
				for sent-acked.Load() > limit {
					select {
					case <-room:
					case <-late.C:
						return
					}
				}
				n.system.Root.Send(pid, around(payload, p.vt))
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	close(begin)
	wg.Wait()
	secs := time.Since(began).Seconds()
	return result{Messages: total.Load(), Seconds: secs, BulkMBs: float64(total.Load()) * float64(p.size) / secs / 1e6}
}

// around makes a fresh message around a shared payload, as an application would.
func around(payload []byte, vt bool) proto.Message {
	if vt {
		return &Fast{Value: payload}
	}
	return wrapperspb.Bytes(payload)
}

func requests(n *node, p params) result {
	pid := n.pid("echo", p.channel)
	msg := message(p)
	return outstanding(p, func(int) error {
		if p.kind == "call" {
			if p.vt {
				_, err := maquis.Call[*Fast](context.Background(), n.d, pid, msg)
				return err
			}
			_, err := maquis.Call[*wrapperspb.BytesValue](context.Background(), n.d, pid, msg)
			return err
		}
		return n.system.Root.RequestFuture(pid, msg, 10*time.Second).Wait()
	})
}

// outstanding makes requests one after another from as many goroutines as
// requests shall be outstanding, and takes their times.
func outstanding(p params, one func(i int) error) result {
	for range 200 {
		if err := one(0); err != nil {
			return result{}
		}
	}
	end := time.Now().Add(p.duration)
	began := time.Now()
	var count atomic.Int64
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	for i := range p.senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var mine []time.Duration
			for t := time.Now(); t.Before(end); {
				if one(i) != nil {
					break
				}
				now := time.Now()
				mine = append(mine, now.Sub(t))
				t = now
				count.Add(1)
			}
			mu.Lock()
			times = append(times, mine...)
			mu.Unlock()
		}()
	}
	wg.Wait()
	r := result{Messages: count.Load(), Seconds: time.Since(began).Seconds()}
	r.P50us, r.P99us = percentiles(times)
	return r
}

func percentiles(t []time.Duration) (p50, p99 float64) {
	if len(t) == 0 {
		return 0, 0
	}
	slices.Sort(t)
	return float64(t[len(t)/2].Nanoseconds()) / 1e3, float64(t[len(t)*99/100].Nanoseconds()) / 1e3
}

// ping measures small requests beside a bulk of 1 MiB messages on another
// channel (on stacks that have channels).
func ping(n *node, p params) result {
	var stop atomic.Bool
	bulk := make(chan result, 1)
	go func() {
		bulk <- oneway(n, params{size: 1 << 20, senders: 2, channel: "bulk"}, p.duration+2*time.Second, &stop)
	}()
	time.Sleep(time.Second)
	pid := n.pid("echo", "")
	msg := message(p)
	var times []time.Duration
	for end := time.Now().Add(p.duration); time.Now().Before(end); time.Sleep(4 * time.Millisecond) {
		t := time.Now()
		if n.system.Root.RequestFuture(pid, msg, 20*time.Second).Wait() == nil {
			times = append(times, time.Since(t))
		}
	}
	stop.Store(true)
	b := <-bulk
	r := result{Messages: int64(len(times)), Seconds: b.Seconds, BulkMBs: b.BulkMBs}
	r.P50us, r.P99us = percentiles(times)
	return r
}
