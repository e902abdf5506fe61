package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	cmap "github.com/orcaman/concurrent-map"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// TestConnections counts the sockets of a node while each of many sends to all others
// without a pause. Run it by itself: make
// connections.
func TestConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: make connections")
	}
	cmap.SHARD_COUNT = 1
	none := sockets(t)
	for _, n := range []int{10, 30, 100} {
		for _, stack := range []struct {
			name  string
			start func(t *testing.T, n int) []crowdNode
		}{
			{"protoactor's remote", remoteCrowd},
			{"HyParView, adaptive", func(t *testing.T, n int) []crowdNode { return maquisCrowd(t, n, maquis.HyParView, "adaptive") }},
			{"HyParView, relay", func(t *testing.T, n int) []crowdNode { return maquisCrowd(t, n, maquis.HyParView, "relay") }},
			{"full mesh", func(t *testing.T, n int) []crowdNode { return maquisCrowd(t, n, maquis.FullMesh, "adaptive") }},
		} {
			t.Run(fmt.Sprintf("%d/%s", n, stack.name), func(t *testing.T) {
				for end := time.Now().Add(30 * time.Second); sockets(t) > none && time.Now().Before(end); {
					time.Sleep(50 * time.Millisecond) // those of the cluster before
				}
				before := sockets(t)
				nodes := stack.start(t, n)
				atRest := sockets(t)
				most, arrived, pairs := crowd(t, nodes)
				per := func(s int) float64 { return float64(s-before-n) / float64(n) } // n of them listen
				t.Logf("| %d | %s | %.1f | %.1f | %d | %d of %d |", n, stack.name, per(atRest), per(most), arrived, pairs, n*(n-1))
			})
		}
	}
}

// crowdNode is one of many nodes in this process.
type crowdNode struct {
	system *actor.ActorSystem
	got    *sink
	to     func(other int) *actor.PID
}

// sink counts what arrives, and from how many.
type sink struct {
	from  []atomic.Bool
	froms atomic.Int64
	all   atomic.Int64
}

func (s *sink) Receive(c actor.Context) {
	if m, ok := c.Message().(*wrapperspb.BytesValue); ok {
		s.all.Add(1)
		if i := int(m.Value[0]); !s.from[i].Swap(true) {
			s.froms.Add(1)
		}
	}
}

func sinkOf(t *testing.T, system *actor.ActorSystem, n int) *sink {
	s := &sink{from: make([]atomic.Bool, n)}
	if _, err := system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return s }), "sink"); err != nil {
		t.Fatal(err)
	}
	return s
}

func remoteCrowd(t *testing.T, n int) (list []crowdNode) {
	addrs := make([]string, n)
	for i := range n {
		system := newSystem()
		r := remote.NewRemote(system, remote.Configure("127.0.0.1", 0, remote.WithEndpointWriterQueueSize(1024)))
		r.Start()
		t.Cleanup(func() { r.Shutdown(false) })
		addrs[i] = system.Address()
		list = append(list, crowdNode{system: system, got: sinkOf(t, system, n), to: func(other int) *actor.PID { return actor.NewPID(addrs[other], "sink") }})
	}
	return list
}

// maquisCrowd's nodes have the times of wan: with those of local, a hundred nodes
// with links to all others use two cores for their heartbeats alone.
func maquisCrowd(t *testing.T, n int, kind, policy string) (list []crowdNode) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var nodes []*maquis.Distribution
	name := func(i int) string { return fmt.Sprintf("n%02d", i) }
	for i := range n {
		system := newSystem()
		opts := []maquis.Option{maquis.WithProfile("test"), maquis.WithFailurePreset("wan"), maquis.WithInsecure(), maquis.WithName(name(i)), maquis.WithLogger(slog.New(slog.DiscardHandler)),
			maquis.WithOverlays(maquis.OverlaySpec{Kind: kind}), maquis.WithRouting(policy, 0)}
		for j := range min(i, 3) {
			opts = append(opts, maquis.WithSeeds(nodes[j].Self().Addrs[0]))
		}
		d, err := maquis.Start(ctx, system, opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Kill() })
		nodes = append(nodes, d)
		pids := make([]*actor.PID, n)
		for other := range pids {
			pids[other] = d.PID(name(other), "sink")
		}
		list = append(list, crowdNode{system: system, got: sinkOf(t, system, n), to: func(other int) *actor.PID { return pids[other] }})
	}
	for _, d := range nodes {
		if err := d.WaitForMembers(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// onTheWay is how many messages each node has on their way.
const onTheWay = 300

// crowd has each node send 1 KiB to all others in turn until all have heard from
// all, for fifteen seconds at least and sixty at most. It returns the most sockets
// seen, how many messages arrived, and between how many pairs.
func crowd(t *testing.T, nodes []crowdNode) (most int, arrived, pairs int64) {
	var stop atomic.Bool
	var senders sync.WaitGroup
	var sent, late atomic.Int64
	arrivals := func() (n int64) {
		for _, to := range nodes {
			n += to.got.all.Load()
		}
		return n
	}
	for i, from := range nodes {
		body := make([]byte, 1024)
		body[0] = byte(i)
		m := wrapperspb.Bytes(body)
		senders.Go(func() {
			for k := 0; !stop.Load(); k++ {
				for sent.Load()-late.Load() > int64(len(nodes))*onTheWay && !stop.Load() {
					time.Sleep(time.Millisecond) // protoactor's queues have no bound of their own
				}
				from.system.Root.Send(from.to((i+1+k%(len(nodes)-1))%len(nodes)), m)
				sent.Add(1)
			}
		})
	}
	heard := func() (pairs int64) {
		for _, n := range nodes {
			pairs += n.got.froms.Load()
		}
		return pairs
	}
	all := int64(len(nodes) * (len(nodes) - 1))
	for began := time.Now(); time.Since(began) < 15*time.Second || heard() < all && time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		most = max(most, sockets(t))
		late.Store(arrivals())
	}
	stop.Store(true)
	senders.Wait()
	return most, arrivals(), heard()
}

// sockets is how many this process has.
func sockets(t *testing.T) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
