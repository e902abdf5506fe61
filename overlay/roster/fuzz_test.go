package roster_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/roster"
)

var (
	fuzzSelf  = overlay.Peer{Name: "self", Incarnation: 1, Addr: "self:1"}
	fuzzPeers = []overlay.Peer{
		{Name: "a", Incarnation: 2, Addr: "a:1"},
		{Name: "b", Incarnation: 3, Addr: "b:1"},
		{Name: "c", Incarnation: 4, Addr: "c:1"},
		{Name: "a", Incarnation: 5, Addr: "a:1"}, // another life
		{Name: "self", Incarnation: 6, Addr: "x:1"},
	}
	fuzzNames = []string{"self", "a", "b", "c", "stranger", "", string(make([]byte, 300))}
)

// fuzzMessage makes any message of rosters, with extreme values.
func fuzzMessage(d *overlaytest.Dice, from overlay.Peer) proto.Message {
	name := func() string { return fuzzNames[d.N(len(fuzzNames))] }
	head := func() *messages.RosterHead {
		return &messages.RosterHead{Name: name(), Incarnation: d.Uint(), Generation: d.Uint(), Version: d.Uint(), Status: messages.RosterStatus(int32(d.Uint()))}
	}
	claim := func() *messages.RosterClaim {
		return &messages.RosterClaim{
			Name: name(), Incarnation: d.Uint(), Generation: d.Uint(), Version: d.Uint(), Status: messages.RosterStatus(int32(d.Uint())),
			Observers: []string{name()}, Addr: name(), AgeMs: d.Uint(),
		}
	}
	record := func() []byte {
		p := from
		if d.N(3) == 0 {
			p = fuzzPeers[d.N(len(fuzzPeers))]
		}
		r := &messages.RosterRecord{Name: p.Name, Incarnation: uint64(p.Incarnation), Generation: d.Uint(), Version: d.Uint(), Addrs: []string{p.Addr}, Leaving: d.N(2) == 0}
		switch d.N(8) {
		case 0:
			return []byte{d.Byte(), d.Byte(), d.Byte()}
		case 1:
			r.Tags = []*messages.RosterTag{{Key: name(), Value: name()}, nil}
		case 2:
			r.Addrs = nil
		}
		b, _ := proto.Marshal(r)
		return b
	}
	switch d.N(10) {
	case 0, 1, 2:
		return &messages.RosterUpdate{Records: [][]byte{record()}}
	case 3, 4:
		return &messages.RosterUpdate{Claims: []*messages.RosterClaim{claim(), nil}}
	case 5:
		g := &messages.RosterDigest{Root: d.Uint(), Joining: d.N(2) == 0, You: head()}
		if d.N(2) == 0 {
			g.Buckets = make([]uint64, []int{1, 64, 65}[d.N(3)])
		}
		return g
	case 6:
		return &messages.RosterSummary{Buckets: []uint32{uint32(d.Uint()), uint32(d.Uint())}, Heads: []*messages.RosterHead{head(), head()}, After: name(), Until: name()}
	case 7:
		return &messages.RosterPull{Names: []string{name(), name()}}
	case 8:
		if d.N(2) == 0 {
			return &messages.RosterAsk{Name: name(), Incarnation: d.Uint()}
		}
		return &messages.RosterAnswer{Name: name(), Incarnation: d.Uint(), Linked: d.N(2) == 0}
	default:
		if d.N(4) == 0 {
			return &messages.LinkUp{}
		}
		return &messages.RosterSynced{}
	}
}

func fuzzOrder(d *overlaytest.Dice) any {
	switch d.N(6) {
	case 0:
		return roster.SetTags{Tags: map[string]string{"k": string(make([]byte, 8*int(d.Byte())))}}
	case 1:
		return roster.SetKinds{Kinds: []string{"z", "b"}}
	case 2:
		return roster.SetLeaving{Leaving: d.N(2) == 0}
	case 3:
		return roster.SetRecord{}
	case 4:
		return "unknown"
	}
	return roster.ForceLeave{Name: fuzzNames[d.N(len(fuzzNames))]}
}

// FuzzRoster feeds random legal events and any message, half of the time on partial
// views that gather bad news; the machine's own invariants are checked after each
// step, those below as well.
func FuzzRoster(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 24 {
		b := make([]byte, 200+50*n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		run := func() []string {
			partial := len(data) > 0 && data[0]%2 == 1
			cfg := roster.LAN(roster.Config{
				Self: roster.Record{Peer: fuzzSelf, Generation: 1, Version: 1, Addrs: []string{fuzzSelf.Addr}},
				Rand: rand.New(rand.NewPCG(3, 4)), Partial: partial, Tree: partial,
			})
			cfg.Gather = 2
			m, err := roster.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{state: map[string]string{}, gens: map[string]uint64{}}
			self := m.Self()
			v := &overlaytest.Drive{
				Machine: m, Peers: fuzzPeers, Message: fuzzMessage, Order: fuzzOrder,
				Check: func(_ overlay.Time, effects []overlay.Effect) {
					for _, e := range effects {
						if e.Kind == overlay.EffectNotify {
							if s.take(e.Notice); s.err != nil {
								t.Fatal(s.err)
							}
						}
						if e.Kind == overlay.EffectSend && proto.Size(e.Msg) > messages.MaxControl-1024 {
							t.Fatalf("a message of %d bytes", proto.Size(e.Msg))
						}
						if e.Kind == overlay.EffectSetTimer && e.After > time.Hour {
							t.Fatalf("a timer of %v", e.After)
						}
					}
					now := m.Self()
					if now.Generation < self.Generation || now.Generation == self.Generation && now.Version < self.Version {
						t.Fatalf("our record went back from g%d v%d to g%d v%d", self.Generation, self.Version, now.Generation, now.Version)
					}
					self = now
				},
			}
			return v.Run(overlaytest.NewDice(data))
		}
		first := run()
		if second := run(); !slices.Equal(first, second) {
			t.Fatalf("the same events gave other effects: %d lines and %d", len(first), len(second))
		}
	})
}
