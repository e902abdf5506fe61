package main

import (
	"context"
	"fmt"
	"log/slog"
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
)

// In every stack alike: an actor system's registry is not what is measured.
func init() { cmap.SHARD_COUNT = 1 }

// cell is one measure: a stack, what it does, and over which link.
type cell struct {
	Kind     string // matrix, beside, packed, modes
	Stack    string // protoactor, or the name of a channel of ours
	Size     int
	Actors   int // of modes: nodes
	RTT      time.Duration
	Rate     int // of the line, bytes a second
	For      time.Duration
	PerS     float64 // messages or round trips a second
	Base     float64 `json:",omitempty"` // of modes: fifo's, in turn with it
	P50, P99 float64 // ms
	Load     float64 // of the machine before
}

// window is that of a connection, as in the paper's figures: there a single one
// moves 45 messages of 512 KB a second at 20 ms.
const window = 512 << 10

// channels of our nodes, beside data.
var channels = []maquis.ChannelSpec{
	{Name: "16 lanes", Lanes: 16, MaxQueueBytes: 1 << 30},
	{Name: "1 lane", Lanes: 1, MaxQueueBytes: 1 << 30},
	{Name: "urgent", Priority: maquis.High},
	{Name: "s2", Compression: maquis.S2},
}

// nodes are the two ends of a stack, each behind a proxy.
type nodes struct {
	client, server *actor.ActorSystem
	at             func(name, channel string) *actor.PID // an actor of the server
}

func start(c *cell) (*nodes, error) {
	p := &path{rtt: c.RTT, window: window, rate: c.Rate}
	n := &nodes{client: system(), server: system()}
	if c.Stack == "protoactor" {
		return n, n.remote(p, c.Size)
	}
	return n, n.maquis(p)
}

func system() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// remote starts protoactor's remote as it comes, but for the largest message
// that it takes: 4 MiB.
func (n *nodes) remote(p *path, size int) error {
	const big = 64 << 20
	var addrs [2]string
	for i, s := range []*actor.ActorSystem{n.client, n.server} {
		proxied, err := p.proxy(func() string { return addrs[i] })
		if err != nil {
			return err
		}
		options := []remote.ConfigOption{
			remote.WithAdvertisedHost(proxied),
			remote.WithServerOptions(grpc.MaxRecvMsgSize(big), grpc.MaxSendMsgSize(big)),
			remote.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())),
			remote.WithCallOptions(grpc.MaxCallRecvMsgSize(big), grpc.MaxCallSendMsgSize(big)),
			remote.WithEndpointWriterQueueSize(16384), // its ring is allocated in full: 16 MB otherwise
		}
		if size > 64<<10 { // a batch of its 1,000 would not fit in one message of gRPC
			options = append(options, remote.WithEndpointWriterBatchSize(max(1, big/size/2)))
		}
		addrs[i] = freeAddr()
		host, port := split(addrs[i])
		r := remote.NewRemote(s, remote.Configure(host, port, options...))
		r.Start()
	}
	n.at = func(name, _ string) *actor.PID { return actor.NewPID(n.server.Address(), name) }
	return nil
}

// maquis starts two nodes of ours as they come, with TLS.
func (n *nodes) maquis(p *path) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var addrs [2]string
	var ds []*maquis.Distribution
	for i, s := range []*actor.ActorSystem{n.client, n.server} {
		proxied, err := p.proxy(func() string { return addrs[i] })
		if err != nil {
			return err
		}
		addrs[i] = freeAddr()
		opts := []maquis.Option{
			maquis.WithName([]string{"client", "server"}[i]), maquis.WithListen(addrs[i]), maquis.WithAdvertise(proxied),
			maquis.WithSecret("a secret of the benchmarks, long enough"), maquis.WithLogger(slog.New(slog.DiscardHandler)), maquis.WithChannels(channels...),
		}
		if i > 0 {
			opts = append(opts, maquis.WithSeeds(ds[0].Self().Addrs[0]))
		}
		d, err := maquis.Start(ctx, s, opts...)
		if err != nil {
			return err
		}
		ds = append(ds, d)
	}
	for _, d := range ds {
		if err := d.WaitForMembers(ctx, 2); err != nil {
			return err
		}
	}
	n.at = func(name, channel string) *actor.PID { return ds[0].PID("server", name, maquis.WithChannel(channel)) }
	return nil
}

// run fills in what a cell found.
func (c *cell) run() error {
	if c.Kind == "modes" {
		return c.modes()
	}
	n, err := start(c)
	if err != nil {
		return err
	}
	switch c.Kind {
	case "matrix":
		c.PerS, c.P50, c.P99, err = n.exchange(c.Stack, c.Actors, bytesOf(c.Size), c.For)
	case "beside":
		bulk := bytesOf(8 << 20)
		stop := make(chan struct{})
		defer close(stop)
		for i := range 16 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = n.ask(n.at(n.peer("bulk", i), "16 lanes"), bulk)
					}
				}
			}()
		}
		time.Sleep(time.Second)
		c.PerS, c.P50, c.P99, err = n.exchange("urgent", 1, bytesOf(64), c.For)
	case "packed":
		text := strings.Repeat("order 4711: 3 pieces of article 0815 for customer 42; ", 19)
		c.PerS, err = n.flood(c.Stack, wrapperspb.String(text[:min(c.Size, len(text))]), c.For)
	}
	return err
}

func bytesOf(n int) proto.Message {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return wrapperspb.Bytes(b)
}

// peer spawns an actor of the server that answers everything with a word.
func (n *nodes) peer(kind string, i int) string {
	name := fmt.Sprint(kind, i)
	_, _ = n.server.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
			c.Respond(wrapperspb.Bool(true))
		}
	}), name)
	return name
}

func (n *nodes) ask(pid *actor.PID, m proto.Message) error {
	return n.client.Root.RequestFuture(pid, m, 2*time.Minute).Wait()
}

// exchange lets actors send a message each, wait for the answer, and so on.
func (n *nodes) exchange(channel string, actors int, m proto.Message, d time.Duration) (perS, p50, p99 float64, err error) {
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	if err := n.ask(n.at(n.peer("first", 0), channel), wrapperspb.Bytes(nil)); err != nil {
		return 0, 0, 0, err
	}
	began := time.Now()
	end := began.Add(d)
	for i := range actors {
		pid := n.at(n.peer("peer", i), channel)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) {
				at := time.Now()
				if n.ask(pid, m) != nil || time.Now().After(end.Add(d)) {
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
	if len(took) == 0 {
		return 0, 0, 0, nil
	}
	slices.Sort(took)
	return float64(len(took)) / time.Since(began).Seconds(), took[len(took)/2], took[len(took)*99/100], nil
}

// flood sends one way as fast as the receiver takes it.
func (n *nodes) flood(channel string, m proto.Message, d time.Duration) (perS float64, err error) {
	var got atomic.Int64
	_, _ = n.server.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			got.Add(1)
		}
	}), "sink")
	pid := n.at("sink", channel)
	sent := int64(0)
	began := time.Now()
	for time.Since(began) < d {
		if sent-got.Load() > 20_000 {
			time.Sleep(time.Millisecond)
			continue
		}
		for range 100 {
			n.client.Root.Send(pid, m)
			sent++
		}
	}
	return float64(got.Load()) / time.Since(began).Seconds(), nil
}
