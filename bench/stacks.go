package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	maquis "github.com/maquis-go/maquis/actors"
)

const secret = "a secret of the benchmarks, long enough"

// node is one end of an actor stack.
type node struct {
	system *actor.ActorSystem
	addr   string
	pid    func(name, channel string) *actor.PID // at the server
	d      *maquis.Distribution                  // of the maquis stacks
}

func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// start starts a node of a stack; server is where the server listens, empty
// for the server itself.
func start(stack, server string, payload int) (*node, error) {
	switch stack {
	case "maquis":
		return startMaquis(server, maquis.WithSecret(secret))
	case "maquis-insecure":
		return startMaquis(server, maquis.WithInsecure())
	case "protoactor":
		return startRemote(server, payload), nil
	}
	return nil, fmt.Errorf("no stack %q", stack)
}

func startMaquis(server string, security maquis.Option) (*node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	n := &node{system: newSystem()}
	opts := []maquis.Option{
		maquis.WithProfile("test"), security, maquis.WithLogger(slog.New(slog.DiscardHandler)),
		maquis.WithChannels(maquis.ChannelSpec{Name: "bulk", Lanes: 1}, maquis.ChannelSpec{Name: "lanes", Lanes: 4}),
	}
	if server == "" {
		opts = append(opts, maquis.WithName("server"))
	} else {
		opts = append(opts, maquis.WithName("client"), maquis.WithSeeds(server))
	}
	d, err := maquis.Start(ctx, n.system, opts...)
	if err != nil {
		return nil, err
	}
	n.d, n.addr = d, d.Self().Addrs[0]
	if server != "" {
		if err := d.WaitForMembers(ctx, 2); err != nil {
			return nil, err
		}
	}
	n.pid = func(name, channel string) *actor.PID {
		if channel == "" {
			return d.PID("server", name)
		}
		return d.PID("server", name, maquis.WithChannel(channel))
	}
	return n, nil
}

// startRemote starts protoactor's own remote, tuned: without, its limits stop
// it at 64 KiB, and its rings take 16 MB an endpoint.
func startRemote(server string, payload int) *node {
	const big = 256 << 20
	batch := 1000
	if payload > 0 {
		batch = max(1, min(1000, (8<<20)/payload))
	}
	n := &node{system: newSystem()}
	r := remote.NewRemote(n.system, remote.Configure("127.0.0.1", 0,
		remote.WithEndpointWriterBatchSize(batch), remote.WithEndpointWriterQueueSize(16384),
		remote.WithServerOptions(grpc.MaxRecvMsgSize(big), grpc.MaxSendMsgSize(big), grpc.InitialWindowSize(16<<20), grpc.InitialConnWindowSize(16<<20), grpc.ReadBufferSize(256<<10), grpc.WriteBufferSize(256<<10)),
		remote.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithInitialWindowSize(16<<20), grpc.WithInitialConnWindowSize(16<<20), grpc.WithReadBufferSize(256<<10), grpc.WithWriteBufferSize(256<<10)),
		remote.WithCallOptions(grpc.MaxCallRecvMsgSize(big), grpc.MaxCallSendMsgSize(big)),
	))
	r.Start()
	n.addr = n.system.Address()
	n.pid = func(name, _ string) *actor.PID { return actor.NewPID(server, name) }
	return n
}
