package main

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Everything in this file is as in any application of protoactor's cluster.

// greeter is a grain: it is made where and when its identity is called.
type greeter struct {
	where string
	times int
}

func (g *greeter) sayHello(name string, c cluster.GrainContext) (string, error) {
	if name == "" {
		return "", errors.New("nobody to greet")
	}
	g.times++
	return fmt.Sprintf("hello %s (%s on %s, %d)", name, c.Identity(), g.where, g.times), nil
}

// The rest is what protoc-gen-go-grain would make of a service with one method.

const greeterKind = "Greeter"

func newGreeterKind(where string) *cluster.Kind {
	return cluster.NewKind(greeterKind, actor.PropsFromProducer(func() actor.Actor { return &greeterActor{greeter: greeter{where: where}} }))
}

type greeterActor struct {
	greeter
	ctx cluster.GrainContext
}

// Receive implements actor.Actor.
func (a *greeterActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *cluster.ClusterInit:
		a.ctx = cluster.NewGrainContext(c, msg.Identity, msg.Cluster)
	case *cluster.GrainRequest:
		var req wrapperspb.StringValue
		err := proto.Unmarshal(msg.MessageData, &req)
		var text string
		if err == nil {
			text, err = a.sayHello(req.Value, a.ctx)
		}
		if err != nil {
			c.Respond(cluster.NewGrainErrorResponse("GREETER", err.Error()))
			return
		}
		c.Respond(wrapperspb.String(text))
	}
}

// sayHello calls a greeter.
func sayHello(c *cluster.Cluster, identity, name string, opts ...cluster.GrainCallOption) (string, error) {
	b, err := proto.Marshal(wrapperspb.String(name))
	if err != nil {
		return "", err
	}
	res, err := c.Request(identity, greeterKind, &cluster.GrainRequest{MethodIndex: 0, MessageData: b}, opts...)
	switch msg := res.(type) {
	case *wrapperspb.StringValue:
		return msg.Value, nil
	case *cluster.GrainErrorResponse:
		return "", msg
	case nil:
		return "", err
	default:
		return "", fmt.Errorf("an answer of type %T", msg)
	}
}
