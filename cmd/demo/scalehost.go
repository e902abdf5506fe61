package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// scaleCommand is the hidden command of a process of demo scale.
const scaleCommand = "scale-host"

// waitAll bounds how long a process waits for its nodes.
const waitAll = 5 * time.Minute

// counted is TCP that counts what is written.
type counted struct {
	transport.TCP
	bytes *atomic.Uint64
}

func (c counted) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := c.TCP.Listen(ctx, addr)
	return countedListener{ln, c.bytes}, err
}

func (c counted) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.TCP.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, c.bytes}, nil
}

type countedListener struct {
	net.Listener
	bytes *atomic.Uint64
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{conn, l.bytes}, nil
}

type countedConn struct {
	net.Conn
	bytes *atomic.Uint64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(uint64(n))
	return n, err
}

// TryWrite implements transport.TryWriter.
func (c countedConn) TryWrite(p []byte) (int, error) {
	t, ok := c.Conn.(transport.TryWriter)
	if !ok {
		return 0, nil
	}
	n, err := t.TryWrite(p)
	c.bytes.Add(uint64(n))
	return n, err
}

// scaleNode is a node of such a process.
type scaleNode struct {
	*maquis.Distribution
	system *actor.ActorSystem
	name   string
	heard  atomic.Int64 // when the broadcast came, in nanoseconds after it was made; 0 not yet
}

// scaleNodes are all of a process.
type scaleNodes struct {
	nodes []*scaleNode
	bytes atomic.Uint64
	empty float64 // heap with actor systems and no nodes
}

// runScaleHost is such a process. It ends with its standard input.
func runScaleHost(ctx context.Context, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(400) // memory is not what is scarce
	s := &scaleNodes{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o scaleOrder
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		a, err := s.do(ctx, o)
		if err != nil {
			a.Err = err.Error()
		}
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := out.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil // the process ends, its nodes with it
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

func (s *scaleNodes) do(ctx context.Context, o scaleOrder) (a scaleAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, waitAll)
	defer cancel()
	switch o.Do {
	case "start":
		return a, s.start(ctx, o)
	case "count":
		err = s.each(func(n *scaleNode) error {
			return until(ctx, func() error {
				if h := n.Health(); h.Members < o.Count { // far cheaper than an event for each
					return fmt.Errorf("%s knows %d of %d members and has %d neighbors", n.name, h.Members, o.Count, h.Neighbors)
				}
				return nil
			})
		})
	case "exactly":
		err = s.each(func(n *scaleNode) error {
			return n.exactly(ctx, func() error {
				if k := n.Health().Members; k != o.Count { // far cheaper than the list
					return fmt.Errorf("%s knows %d members, not %d", n.name, k, o.Count)
				}
				for _, m := range n.Members() {
					if m.Status == maquis.Suspect {
						return fmt.Errorf("%s suspects %s", n.name, m.Name)
					}
				}
				return nil
			}, o.All)
		})
	case "gone":
		err = s.each(func(n *scaleNode) error {
			return until(ctx, func() error {
				if m, ok := n.Member(o.Node); ok && (m.Status == maquis.Down || m.Status == maquis.Left) {
					return nil
				}
				return fmt.Errorf("%s does not know that %s is down", n.name, o.Node)
			})
		})
	case "stats":
		a.CPU = cpuTime().Seconds()
		a.Bytes = s.bytes.Load()
		for _, n := range s.nodes {
			st := n.Stats()
			a.Links = append(a.Links, float64(st["links"]))
			a.Neighbors = append(a.Neighbors, float64(n.Health().Neighbors))
			a.Relayed += st["relayed"]
		}
	case "heap":
		a.Heap = heap() - s.empty
	case "pairs":
		s.pairs(ctx, o, &a)
	case "listen":
		for _, n := range s.nodes {
			n.heard.Store(0)
		}
	case "broadcast":
		for _, n := range s.nodes {
			if n.name == o.Node {
				err = n.Broadcast("data", wrapperspb.Int64(time.Now().UnixNano()))
			}
		}
	case "heard":
		for _, n := range s.nodes {
			if t := n.heard.Load(); t > 0 {
				a.MS = append(a.MS, float64(t)/1e6)
			}
		}
	default:
		err = fmt.Errorf("unknown order %q", o.Do)
	}
	return a, err
}

// exactly waits for a condition on the members that a node knows. The error names
// those of whom it is wrong.
func (n *scaleNode) exactly(ctx context.Context, missing func() error, all []string) error {
	err := until(ctx, missing)
	if err == nil {
		return nil
	}
	var wrong []string
	for _, m := range n.Members() {
		lives := slices.Contains(all, m.Name)
		if knows := m.Status != maquis.Down && m.Status != maquis.Left; knows != lives || m.Status == maquis.Suspect {
			wrong = append(wrong, fmt.Sprintf("%s is %v there", m.Name, m.Status))
		}
	}
	return fmt.Errorf("%w: %s", err, strings.Join(wrong[:min(len(wrong), 5)], ", "))
}

// until waits for a condition. It looks seldom, since a process has many nodes
// and a look must not cost what is measured.
func until(ctx context.Context, missing func() error) error {
	for {
		err := missing()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *scaleNodes) each(f func(*scaleNode) error) error {
	errs := make(chan error, len(s.nodes))
	for _, n := range s.nodes {
		go func() { errs <- f(n) }()
	}
	var first error
	for range s.nodes {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *scaleNodes) start(ctx context.Context, o scaleOrder) error {
	for _, name := range o.Names {
		s.nodes = append(s.nodes, &scaleNode{name: name, system: newSystem()})
	}
	s.empty = heap()
	for i, n := range s.nodes {
		opts := []maquis.Option{
			maquis.WithName(n.name), maquis.WithSecret(os.Getenv(envSecret)), maquis.WithSeeds(o.Seeds...), maquis.WithLogger(quietLogger()),
			maquis.WithTransport(counted{bytes: &s.bytes}), maquis.WithOverlays(maquis.OverlaySpec{Kind: os.Getenv(envPlace)}), maquis.WithListen("127.0.0.1:0"), maquis.WithFailurePreset(o.Preset),
		}
		for k, seed := range o.Seeds {
			if n.name == fmt.Sprintf("n%d", k) {
				opts = append(opts, maquis.WithListen(seed))
			}
		}
		d, err := maquis.Start(ctx, n.system, opts...)
		if err != nil {
			return fmt.Errorf("node %d of %d: %w", i+1, len(s.nodes), err)
		}
		n.Distribution = d
		pid, err := n.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			switch m := c.Message().(type) {
			case *wrapperspb.StringValue:
				c.Respond(m)
			case *wrapperspb.Int64Value:
				n.heard.CompareAndSwap(0, max(time.Now().UnixNano()-m.Value, 1))
			}
		}), "echo")
		if err != nil {
			return err
		}
		if _, err := n.SubscribeBroadcast("data", pid); err != nil {
			return err
		}
	}
	return nil
}

// pairs calls random nodes from random nodes of this process, a few at a time.
func (s *scaleNodes) pairs(ctx context.Context, o scaleOrder, a *scaleAnswer) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	jobs := make(chan struct{}, o.Count)
	for range o.Count {
		jobs <- struct{}{}
	}
	close(jobs)
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range jobs {
				n := s.nodes[rand.IntN(len(s.nodes))]
				to := o.All[rand.IntN(len(o.All))]
				began := time.Now()
				call, cancel := context.WithTimeout(ctx, 20*time.Second)
				_, err := maquis.Call[*wrapperspb.StringValue](call, n.Distribution, n.PID(to, "echo"), wrapperspb.String("x"))
				cancel()
				mu.Lock()
				a.MS = append(a.MS, float64(time.Since(began))/1e6)
				if err == nil {
					a.Done++
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}
