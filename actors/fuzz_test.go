package actors

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// systemTypes are the protobuf messages of protoactor itself.
var systemTypes = []string{"actor.Watch", "actor.Unwatch", "actor.Terminated", "actor.Stop", "actor.PoisonPill", "actor.DeadLetterResponse", "actor.PID"}

// FuzzSystemMessages posts every system message, with arbitrary content, as a
// system message and as a user message, to every kind of local process: the
// node does not panic and its actors go on.
func FuzzSystemMessages(f *testing.F) {
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	d, err := Start(context.Background(), system, WithProfile("test"), WithName("a"), WithInsecure(),
		WithTransport(transport.NewMemory()), WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Stop(context.Background()); system.Shutdown() })
	alive := actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(string); ok {
			c.Respond("alive")
		}
	})
	future := actor.NewFuture(system, 24*time.Hour)
	stopped := system.Root.Spawn(alive)
	if err := system.Root.StopFuture(stopped).Wait(); err != nil {
		f.Fatal(err)
	}
	peer := overlay.Peer{Name: "peer", Incarnation: 7, Addr: "peer:1"}
	session := d.registry.Ensure(peer, 1)
	victim := system.Root.Spawn(alive)
	targets := []string{victim.Id, future.PID().Id, stopped.Id, "guardian$1", "eventstream", "deadletter", "maquis", "maquis/peers",
		"future$99999", "call$1", "", "\x00bind 1"}
	for i := range systemTypes {
		for j := range targets {
			f.Add(uint8(i), uint8(j), true, []byte{0x0a, 0x08, 0x0a, 2, 'a', 'b', 0x12, 2, 'x', 'y'})
			f.Add(uint8(i), uint8(j), false, []byte{})
		}
	}
	types := messages.NewRegistry()
	f.Fuzz(func(t *testing.T, i, j uint8, asSystem bool, body []byte) {
		typ, err := types.Lookup(systemTypes[int(i)%len(systemTypes)])
		if err != nil {
			t.Fatal(err)
		}
		msg, err := typ.Decode(body)
		if err != nil {
			return
		}
		witness := system.Root.Spawn(alive)
		targets[0] = witness.Id
		m := &channelmgr.Incoming{Session: session, Channel: channelmgr.DataChannel, Target: &channelmgr.Target{ID: targets[int(j)%len(targets)]}, Msg: msg, System: asSystem}
		receiver{d}.Receive(m)
		if err := system.Root.RequestFuture(victim, "ping", 10*time.Second).Wait(); err != nil {
			t.Fatalf("an actor that was no target does not answer: %v", err)
		}
		system.Root.Stop(witness)
	})
}
