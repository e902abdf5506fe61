package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	cmap "github.com/orcaman/concurrent-map"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
)

// In every stack alike: an actor system's registry is not what is measured.
func init() { cmap.SHARD_COUNT = 1 }

// channels of our nodes, beside data.
var channels = []maquis.ChannelSpec{
	{Name: "16 lanes", Lanes: 16, MaxQueueBytes: 1 << 30},
	{Name: "default", MaxQueueBytes: 1 << 30}, // 128 messages of 8 MiB have to wait somewhere
	{Name: "1 lane", Lanes: 1, MaxQueueBytes: 1 << 30},
	{Name: "urgent", Priority: maquis.High},
	{Name: "s2", Compression: maquis.S2},
}

// place is where a node listens and where others find it.
type place struct{ Name, Listen, Advertise string }

// nodeConfig is what a node's process is told.
type nodeConfig struct {
	Cell   cell
	Self   place
	Server place   // whom a client measures with
	Others []place // all that started before
	All    []place // of kvs: the replicas
}

// nodeReport is a line of a node's process.
type nodeReport struct {
	Event                string // ready, begin, end, bye
	PerS, P50, P99, Bulk float64
	Count                int
	Beats                int
	BeatP50, BeatP99     float64
	Suspicions           int
	Sockets              []socket
}

// node is a node in its process.
type node struct {
	nodeConfig
	system *actor.ActorSystem
	d      *maquis.Distribution // of ours

	suspicions atomic.Int64
	got, bytes atomic.Int64 // by the sink and by the peers
	mu         sync.Mutex
	beats      []float64
}

func system() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// runNode is all that a node's process does: it serves until its standard input
// ends, and measures before if a line comes.
func runNode(config string) error {
	n := &node{system: system()}
	if err := json.Unmarshal([]byte(config), &n.nodeConfig); err != nil {
		return err
	}
	start := n.maquis
	if n.Cell.Stack == "protoactor" {
		start = n.remote
	}
	if err := start(); err != nil {
		return err
	}
	n.spawn() // after the start: ours lets nobody reach what was there before
	say := json.NewEncoder(os.Stdout)
	if err := say.Encode(nodeReport{Event: "ready"}); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err == nil { // all are there, and this one is to measure
		r := nodeReport{Event: "end"}
		if err := n.measure(&r, func() { _ = say.Encode(nodeReport{Event: "begin"}) }); err != nil {
			return err
		}
		r.Sockets = sockets()
		if err := say.Encode(r); err != nil {
			return err
		}
	}
	_, _ = io.Copy(io.Discard, in)
	return say.Encode(nodeReport{Event: "bye", Suspicions: int(n.suspicions.Load())})
}

// remote starts protoactor's remote as it comes, but for the largest message
// that it takes: 4 MiB.
func (n *node) remote() error {
	const big = 64 << 20
	host, port := split(n.Self.Listen)
	options := []remote.ConfigOption{
		remote.WithAdvertisedHost(n.Self.Advertise),
		remote.WithServerOptions(grpc.MaxRecvMsgSize(big), grpc.MaxSendMsgSize(big)),
		remote.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())),
		remote.WithCallOptions(grpc.MaxCallRecvMsgSize(big), grpc.MaxCallSendMsgSize(big)),
		remote.WithEndpointWriterQueueSize(16384), // its ring is allocated in full: 16 MB otherwise
	}
	if largest := max(n.Cell.Size, n.Cell.Bulk); largest > 64<<10 { // a batch of its 1,000 would not fit in one message of gRPC
		options = append(options, remote.WithEndpointWriterBatchSize(max(1, big/largest/2)))
	}
	remote.NewRemote(n.system, remote.Configure(host, port, options...)).Start()
	return nil
}

// beat is how often our nodes' heartbeats are sent where their round trip is
// measured: at the second of the default there would be too few.
const beat = 20 * time.Millisecond

// maquis starts a node of ours as it comes, with TLS.
func (n *node) maquis() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	opts := []maquis.Option{
		maquis.WithName(n.Self.Name), maquis.WithListen(n.Self.Listen), maquis.WithAdvertise(n.Self.Advertise),
		maquis.WithSecret("a secret of the benchmarks, long enough"), maquis.WithLogger(slog.New(slog.DiscardHandler)), maquis.WithChannels(channels...),
	}
	if n.Cell.Kind == "beside" {
		opts = append(opts, maquis.WithTiming(channelmgr.Timing{Heartbeat: beat}))
	}
	if n.Cell.Short {
		opts = append(opts, maquis.WithShortQueues())
	}
	for _, o := range n.Others {
		opts = append(opts, maquis.WithSeeds(o.Advertise))
	}
	n.system.EventStream.Subscribe(func(e any) {
		switch e.(type) {
		case *maquis.NodeSuspect, *maquis.NodeDown, *maquis.Isolated:
			n.suspicions.Add(1)
		}
	})
	d, err := maquis.Start(ctx, n.system, opts...)
	if err != nil {
		return err
	}
	n.d = d
	return d.WaitForMembers(ctx, len(n.Others)+1)
}

// at is an actor of a server.
func (n *node) at(server place, name, channel string) *actor.PID {
	if n.d == nil {
		return actor.NewPID(server.Advertise, name)
	}
	return n.d.PID(server.Name, name, maquis.WithChannel(channel))
}

// Most actors of each kind.
const (
	mostPeers = 128
	bulkPeers = 16
	ackEvery  = 500
)

// spawn spawns the actors that others send to.
func (n *node) spawn() {
	named := func(name string, f actor.ReceiveFunc) {
		_, _ = n.system.Root.SpawnNamed(actor.PropsFromFunc(f), name)
	}
	answer := func(c actor.Context) { // everything with a word
		if m, ok := c.Message().(*wrapperspb.BytesValue); ok {
			n.bytes.Add(int64(len(m.Value)))
			c.Respond(wrapperspb.Bool(true))
		}
	}
	for i := range mostPeers {
		named(fmt.Sprint("peer", i), answer)
	}
	for i := range bulkPeers {
		named(fmt.Sprint("bulk", i), answer)
	}
	got := 0
	named("sink", func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			if got++; c.Sender() != nil {
				c.Respond(wrapperspb.Int64(int64(got)))
			}
		}
	})
	n.store(named)
}

func bytesOf(n int) proto.Message {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return wrapperspb.Bytes(b)
}

func (n *node) ask(pid *actor.PID, m proto.Message) error {
	return n.system.Root.RequestFuture(pid, m, 2*time.Minute).Wait()
}

// measure does what the cell is about.
func (n *node) measure(r *nodeReport, begin func()) (err error) {
	c := &n.Cell
	channel := c.Stack
	if c.Kind == "beside" {
		channel = "urgent"
	}
	if n.d != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := n.d.WaitForMembers(ctx, len(n.All)); err != nil {
			return err
		}
	}
	for _, p := range n.All { // links, and what is done once
		if p.Name == n.Self.Name {
			continue
		}
		if err := n.ask(n.at(p, "peer0", channel), wrapperspb.Bytes(nil)); err != nil {
			return err
		}
	}
	switch c.Kind {
	case "matrix", "window":
		begin()
		m := bytesOf(c.Size)
		n.exchange(r, c.Actors, c.For, func(i int) error { return n.ask(n.at(n.Server, fmt.Sprint("peer", i), channel), m) })
	case "beside":
		n.beside(r, channel, begin)
	case "packed":
		begin()
		text := strings.Repeat("order 4711: 3 pieces of article 0815 for customer 42; ", 19)
		r.PerS, err = n.flood(channel, wrapperspb.String(text[:min(c.Size, len(text))]), c.For)
	case "kvs":
		n.kvs(r, channel, begin)
	}
	return err
}

// beside measures a small message and heartbeats while large messages fill the
// line.
func (n *node) beside(r *nodeReport, channel string, begin func()) {
	c := &n.Cell
	m := bytesOf(c.Bulk)
	var sent atomic.Int64
	stop := make(chan struct{})
	defer close(stop)
	for i := range bulkPeers {
		pid := n.at(n.Server, fmt.Sprint("bulk", i), c.On)
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					if n.ask(pid, m) == nil {
						sent.Add(int64(c.Bulk))
					}
				}
			}
		}()
	}
	for end := time.Now().Add(20 * time.Second); sent.Load() < bulkPeers*int64(c.Bulk) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the line is full
	}
	go n.watchBeats(stop)
	before, began := sent.Load(), time.Now()
	begin()
	small := bytesOf(c.Size)
	pid := n.at(n.Server, "peer0", channel)
	n.exchange(r, 1, c.For, func(int) error { return n.ask(pid, small) })
	r.Bulk = float64(sent.Load()-before) / time.Since(began).Seconds()
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Beats = len(n.beats)
	r.BeatP50, r.BeatP99 = quantiles(n.beats)
}

// watchBeats notes each round trip that our heartbeats measure.
func (n *node) watchBeats(stop chan struct{}) {
	if n.d == nil {
		return
	}
	last, _ := n.d.RTT(n.Server.Name)
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		if rtt, ok := n.d.RTT(n.Server.Name); ok && rtt != last {
			n.mu.Lock()
			n.beats = append(n.beats, float64(rtt)/1e6)
			n.mu.Unlock()
			last = rtt
		}
	}
}

// quantiles sorts and returns the median and what 99 of 100 are below.
func quantiles(took []float64) (p50, p99 float64) {
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

// exchange lets actors do something that ends with an answer, again and again.
func (n *node) exchange(r *nodeReport, actors int, d time.Duration, do func(i int) error) {
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	began := time.Now()
	end := began.Add(d)
	for i := range actors {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) {
				at := time.Now()
				if do(i) != nil || time.Now().After(end.Add(d)) {
					return
				}
				mu.Lock()
				took = append(took, float64(time.Since(at))/1e6)
				mu.Unlock()
			}
		}()
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(time.Until(end.Add(d))): // what is not answered by then does not count
	}
	mu.Lock()
	defer mu.Unlock()
	r.Count = len(took)
	r.PerS = float64(len(took)) / time.Since(began).Seconds()
	r.P50, r.P99 = quantiles(took)
}

// flood sends one way as fast as the receiver takes it.
func (n *node) flood(channel string, m proto.Message, d time.Duration) (perS float64, err error) {
	var got atomic.Int64
	acks, err := n.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.Int64Value); ok {
			got.Store(m.Value)
		}
	}), "acks")
	if err != nil {
		return 0, err
	}
	pid := n.at(n.Server, "sink", channel)
	sent := int64(0)
	began := time.Now()
	for time.Since(began) < d {
		if sent-got.Load() > 20_000 {
			time.Sleep(time.Millisecond)
			continue
		}
		for range ackEvery - 1 {
			n.system.Root.Send(pid, m)
		}
		n.system.Root.RequestWithCustomSender(pid, m, acks)
		sent += ackEvery
	}
	return float64(got.Load()) / time.Since(began).Seconds(), nil
}
