//go:build linux

package faultnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

func init() { cmap.SHARD_COUNT = 1 } // an empty actor system is 24 times smaller

// IsNode reports whether this process was started to be a node.
func IsNode() bool { return os.Getenv(envConfig) != "" }

// flowChannel is the channel that carries nothing but numbered messages.
const flowChannel = "flow"

// node is a node's process.
type node struct {
	cfg    Config
	system *actor.ActorSystem
	*maquis.Distribution
	faults *transport.Faults
	book   *ledger
	life   uint64
	began  time.Time

	mu  sync.Mutex // of out
	out *json.Encoder

	flows flows
	calls calls
	heard heard
	still atomic.Int64 // how long this process has stood still, in nanoseconds
}

// Run is a node: it carries out the orders from in and tells what happens. It
// ends with in, at once and without a word to its peers.
func Run(in io.Reader, out io.Writer) int {
	n := &node{out: json.NewEncoder(out), faults: transport.NewFaults(uint64(os.Getpid())), began: time.Now()}
	if err := json.Unmarshal([]byte(os.Getenv(envConfig)), &n.cfg); err != nil {
		n.say(Line{Event: "failed", Detail: err.Error()})
		return 1
	}
	if err := n.start(); err != nil {
		n.say(Line{Event: "failed", Detail: err.Error()})
		return 1
	}
	go func() {
		<-n.Done()
		n.say(Line{Event: "ended", Detail: fmt.Sprint(n.Err())})
	}()
	go n.clock()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			n.say(Line{Event: "failed", Detail: err.Error()})
			return 1
		}
		if o.Do == "faults" { // before what comes after
			n.set(o.Places, o.Ways)
			continue
		}
		go func() {
			l, err := n.do(o)
			if o.ID == 0 {
				return // nobody waits
			}
			l.Answer = o.ID
			if err != nil {
				l.Err = err.Error()
			}
			n.say(l)
		}()
	}
	return 0
}

// clock notices when the process stands still.
func (n *node) clock() {
	const step = 50 * time.Millisecond
	for last := time.Now(); ; {
		time.Sleep(step)
		now := time.Now()
		if d := now.Sub(last) - step; d > step {
			n.still.Add(int64(d))
		}
		last = now
	}
}

// stood is how long this process has stood still so far, by a signal or for
// want of a processor.
func (n *node) stood() time.Duration { return time.Duration(n.still.Load()) }

// say writes a line.
func (n *node) say(l Line) {
	if l.At.IsZero() {
		l.At = time.Now()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.out.Encode(l) // a parent that is gone ends this process by its standard input
}

// violation tells of a promise that was broken.
func (n *node) violation(format string, args ...any) {
	n.say(Line{Event: "violation", Detail: n.cfg.Name + ": " + fmt.Sprintf(format, args...)})
}

// start starts the node and its actors.
func (n *node) start() error {
	c := &n.cfg
	n.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	var over transport.Transport = transport.TCP{From: host}
	if c.Wrapped {
		over = n.faults.Node(c.Name, over)
		n.set(c.Places, c.Ways)
	}
	n.flows.init(n)
	n.system.EventStream.Subscribe(n.event)
	n.Distribution, err = maquis.Start(context.Background(), n.system,
		maquis.WithName(c.Name), maquis.WithListen(c.Listen), maquis.WithSecret(c.Secret), maquis.WithSeeds(c.Seeds...), maquis.WithTransport(over),
		maquis.WithOverlays(maquis.OverlaySpec{Kind: c.Overlay}), maquis.WithFailurePreset(c.Preset), maquis.WithLogger(slog.New(slog.DiscardHandler)),
		maquis.WithChannels(c.Flow.spec()))
	if err != nil {
		return err
	}
	n.life = uint64(n.Self().Incarnation)
	book, err := openLedger(c.Dir, c.Name, n.life)
	if err != nil {
		return err
	}
	n.book = book
	close(n.flows.ready)
	if err := n.spawn(); err != nil {
		return err
	}
	n.say(Line{Event: "listening", Node: c.Name, Life: n.life, Detail: n.Self().Addrs[0]})
	return nil
}

// spawn spawns the node's actors.
func (n *node) spawn() error {
	if _, err := n.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.Int64Value); ok && c.Sender() != nil {
			c.Respond(m)
		}
	}), "echo"); err != nil {
		return err
	}
	if _, err := n.system.Root.SpawnNamed(n.flows.sink(), "sink"); err != nil {
		return err
	}
	if _, err := n.system.Root.SpawnNamed(n.flows.slow(), "slow"); err != nil {
		return err
	}
	pid := n.system.Root.Spawn(n.heard.props(n))
	if _, err := n.SubscribeBroadcast("data", pid); err != nil {
		return err
	}
	n.SubscribeMembership(n.system.Root.Spawn(n.watcher()))
	return nil
}

// set makes the faults what they shall be.
func (n *node) set(places map[string]string, ways []Way) {
	for name, addr := range places {
		n.faults.Place(name, addr)
	}
	n.faults.Heal()
	for _, w := range ways {
		if w.Cut {
			n.faults.CutOneWay(w.From, w.To)
		}
		if l := (transport.Link{Latency: w.Latency, Jitter: w.Jitter, Rate: w.Rate, Loss: w.Loss, Corrupt: w.Corrupt}); l != (transport.Link{}) {
			n.faults.Slow(w.From, w.To, l)
		}
	}
}

// event tells what the node publishes and nobody else here takes.
func (n *node) event(e any) {
	up := func(what string, m maquis.Member, detail string) {
		n.say(Line{Event: what, Node: m.Name, Life: uint64(m.Incarnation), Generation: m.Generation, Detail: detail})
	}
	switch e := e.(type) {
	case *maquis.NodeUp:
		up("up", e.Member, "")
	case *maquis.NodeSuspect:
		up("suspect", e.Member, fmt.Sprint(e.By))
	case *maquis.NodeDown:
		up("down", e.Member, string(e.Reason))
	case *maquis.NodeLeft:
		up("left", e.Member, "")
	case *maquis.PeerRefused:
		n.say(Line{Event: "refused", Node: e.Addr, Detail: string(e.Reason)})
	case *maquis.Isolated:
		n.say(Line{Event: "isolated"})
	default:
		n.flows.event(e)
	}
}

// do carries out an order.
func (n *node) do(o Order) (l Line, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), max(o.Wait, time.Millisecond))
	defer cancel()
	switch o.Do {
	case "members":
		for _, m := range n.Members() {
			l.Members = append(l.Members, Member{m.Name, string(m.Status), uint64(m.Incarnation), m.Generation})
		}
	case "stats":
		l.Stats = n.stats()
	case "goroutines":
		l.Detail = goroutines()
	case "call":
		_, err = maquis.Call[*wrapperspb.Int64Value](ctx, n.Distribution, n.PID(o.Node, "echo"), wrapperspb.Int64(1))
	case "flow":
		n.flows.run(o)
	case "calls":
		n.calls.run(n, o)
	case "broadcasts":
		n.heard.run(n, o)
	case "join":
		err = n.Join(ctx, o.Addrs...)
	case "leave":
		err = n.Leave(ctx)
	case "reset":
		n.faults.Reset(n.cfg.Name, o.Node)
	default:
		err = fmt.Errorf("faultnet: unknown order %q", o.Do)
	}
	if errors.Is(err, maquis.ErrNameTaken) {
		l.Detail = "name_taken"
	}
	return l, err
}
