package peerservice

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// Config of a Service. It must not be changed after Start.
type Config struct {
	System   *actor.ActorSystem
	Registry *channelmgr.Registry // listening, not serving yet
	Record   roster.Record        // tags, kinds, version and addresses of this node
	// Preset sets the roster's times: roster.Local, LAN or WAN; nil means LAN.
	Preset func(roster.Config) roster.Config
	// Overlays are the membership overlays. The roster's news and the
	// application's broadcasts go over the first one. None means a full mesh.
	Overlays []OverlaySpec
	MaxHops  int      // links of a way over relays at most; 0 means 32
	Seeds    []string // contacts, "host:port", that are called from the start and for ever
	// Seed makes the machines' dice repeat; 0 takes another seed in each
	// process, so that no two nodes act in step.
	Seed  uint64
	Parts []Part // further children of the supervisor
	// OnNodeGone is called when a life of a node is over here, after its
	// session has ended and before the event is published. It may be called
	// again for the same life, from one goroutine at a time, and must not block.
	OnNodeGone func(p overlay.Peer, why messages.Reason)
	// OnLink is called when the session with a peer has come up (again). It
	// must not block.
	OnLink func(p overlay.Peer)
	// OnBroadcast is called for each broadcast that arrives, this node's own
	// too, those of one origin in their order. It must not block; data is its
	// to keep.
	OnBroadcast func(origin overlay.Peer, data []byte)
	// OnFail is called once, when the runtime cannot go on. It must not block.
	OnFail func(error)
	Logger *slog.Logger // nil: slog.Default

	tap  func(part string, msg any)                               // for tests: sees every message of a part first
	wrap func(instance string, m overlay.Machine) overlay.Machine // for tests: stands in for a machine
}

// Validate reports everything that is missing.
func (c Config) Validate() error {
	var errs []error
	if c.System == nil {
		errs = append(errs, errors.New("peerservice: Config.System is missing"))
	}
	if c.Registry == nil {
		errs = append(errs, errors.New("peerservice: Config.Registry is missing"))
	}
	for _, p := range c.Parts {
		if p.Name == "" || p.Props == nil {
			errs = append(errs, errors.New("peerservice: each of Config.Parts needs a name and props"))
		}
	}
	return errors.Join(errs...)
}

// dice makes a machine's source of chance. Each machine has its own stream.
func (c Config) dice(stream uint64) *rand.Rand {
	if c.Seed != 0 {
		return rand.New(rand.NewPCG(c.Seed, stream))
	}
	var seed [16]byte
	_, _ = crand.Read(seed[:]) // never fails
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}
