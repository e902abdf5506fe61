package roster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/roster"
)

// node wires a roster and a full mesh as a running node does.
func node(self overlay.Peer, rng *rand.Rand) *overlaytest.Node {
	r, err := roster.New(roster.LAN(roster.Config{
		Self: roster.Record{Peer: self, Generation: 1, Version: 1, Addrs: []string{self.Addr}},
		Rand: rng,
	}))
	if err != nil {
		panic(err)
	}
	mesh, err := fullmesh.New(fullmesh.DefaultConfig(self, rng))
	if err != nil {
		panic(err)
	}
	return &overlaytest.Node{
		Machines: []overlaytest.Instance{{Name: "roster", Machine: r}, {Name: "main", Machine: mesh}},
		Notify: func(d *overlaytest.Life, instance string, notice any) {
			switch n := notice.(type) {
			case overlay.NeighborUp:
				d.Feed("roster", n)
			case overlay.NeighborDown:
				d.Feed("roster", n)
			case roster.Up:
				d.Feed("main", overlay.MemberUp{Peer: n.Member.Peer})
			case roster.Down:
				d.Feed("main", overlay.MemberDown{Peer: n.Member.Peer})
				d.EndSession(n.Member.Peer)
			case roster.Gone:
				d.Feed("main", overlay.MemberDown{Peer: n.Member.Peer})
				d.EndSession(n.Member.Peer)
			}
		},
		Admit: func(p overlay.Peer, generation uint64, alive bool) (messages.Reason, uint64) {
			if p.Name == self.Name {
				return messages.ReasonNameTaken, r.Self().Generation
			}
			known, have := r.Lookup(p.Name)
			return roster.Admit(known, have, p, generation, alive)
		},
		Generation: func() uint64 { return r.Self().Generation },
	}
}

func machineOf(w *overlaytest.World, id string) *roster.Machine {
	return w.Life(id).Machine("roster").(*roster.Machine)
}

// whole reports whether every running node takes exactly the running nodes
// for alive, in their present life and generation.
func whole(w *overlaytest.World) bool {
	lives := w.Lives()
	for _, l := range lives {
		alive := 0
		for _, m := range l.Machine("roster").(*roster.Machine).Members() {
			if m.Status != roster.StatusAlive {
				if m.Status == roster.StatusSuspect {
					return false
				}
				continue
			}
			alive++
			if !slices.ContainsFunc(lives, func(o *overlaytest.Life) bool {
				self := o.Machine("roster").(*roster.Machine).Self()
				return self.Peer == m.Peer && self.Generation == m.Generation && self.Version == m.Version
			}) {
				return false
			}
		}
		if alive != len(lives) {
			return false
		}
	}
	return true
}

func notice(n any) string {
	tell := func(m roster.Member) string {
		s := fmt.Sprintf("%s g%d v%d", m.Peer.Name, m.Generation, m.Version)
		if len(m.Tags) > 0 {
			s += fmt.Sprintf(" %v", m.Tags)
		}
		return s
	}
	switch n := n.(type) {
	case roster.Up:
		return "Up{" + tell(n.Member) + "}"
	case roster.Suspected:
		return fmt.Sprintf("Suspected{%s by %s}", tell(n.Member), strings.Join(n.By, " "))
	case roster.Cleared:
		return "Cleared{" + tell(n.Member) + "}"
	case roster.Down:
		return fmt.Sprintf("Down{%s %s}", tell(n.Member), n.Reason)
	case roster.Gone:
		return "Gone{" + tell(n.Member) + "}"
	case roster.Updated:
		return fmt.Sprintf("Updated{%s}", tell(n.New))
	case roster.SelfChanged:
		return "SelfChanged{" + tell(roster.Member{Record: &n.Self}) + "}"
	case roster.Joined:
		return "Joined{via " + n.Via.String() + "}"
	case roster.JoinFailed:
		return fmt.Sprintf("JoinFailed{%s %s}", n.Contact, n.Reason)
	case roster.NameTaken:
		return fmt.Sprintf("NameTaken{%s by %s}", n.Contact, n.By.Addr)
	case roster.Isolated:
		return "Isolated{since " + n.Since.String() + "}"
	}
	return overlaytest.DescribeNotice(n)
}

// TestScripts runs the stories in testdata. What they print are the rosters'
// notifications; with "trace all" everything else, too.
func TestScripts(t *testing.T) {
	overlaytest.Script(t, "testdata/*.txt", func(*testing.T) overlaytest.Handler {
		var out strings.Builder
		all := false
		w := overlaytest.NewWorld(overlaytest.Config{
			Seed: 1, Factory: node, Notice: notice,
			Trace: func(line string) {
				if all || strings.Contains(line, " ! ") && !strings.Contains(line, " ! Neighbor") {
					out.WriteString(line + "\n")
				}
			},
		})
		return func(t *testing.T, args []string) string {
			out.Reset()
			if args[0] == "trace" {
				all = args[1] == "all"
				return ""
			}
			text, ok := w.Command(args)
			if !ok {
				text = command(t, w, args)
			}
			return out.String() + text
		}
	})
}

// command executes the commands of the roster's own scripts:
//
//	tag a key=value        set a's tags
//	force a b              a makes b leave
//	members a              what a knows, a line per member
//	claim to from name=b inc=1 gen=1 ver=1 status=down    forge a claim
//	record to from name=b inc=1 gen=1 ver=1 addr=b:1      forge a record
func command(t *testing.T, w *overlaytest.World, args []string) string {
	switch args[0] {
	case "tag":
		k, v, _ := strings.Cut(args[2], "=")
		w.Life(args[1]).Feed("roster", overlay.Command{Order: roster.SetTags{Tags: map[string]string{k: v}}})
	case "force":
		w.Life(args[1]).Feed("roster", overlay.Command{Order: roster.ForceLeave{Name: args[2]}})
	case "members":
		var b strings.Builder
		for _, m := range machineOf(w, args[1]).Members() {
			fmt.Fprintf(&b, "%s %s g%d v%d %s\n", m.Peer.Name, m.Status, m.Generation, m.Version, m.Peer.Addr)
		}
		return b.String()
	case "claim", "record":
		forge(t, w, args)
	default:
		t.Fatalf("no command %q", args[0])
	}
	return ""
}

func forge(t *testing.T, w *overlaytest.World, args []string) {
	var name, addr string
	status := messages.RosterStatus_ROSTER_STATUS_ALIVE
	n := map[string]uint64{"inc": 1, "gen": 1, "ver": 1}
	for _, a := range args[3:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "name":
			name = v
		case "addr":
			addr = v
		case "status":
			status = messages.RosterStatus(messages.RosterStatus_value["ROSTER_STATUS_"+strings.ToUpper(v)])
		default:
			var x uint64
			if _, err := fmt.Sscan(v, &x); err != nil {
				t.Fatalf("%q: %v", a, err)
			}
			n[k] = x
		}
	}
	up := &messages.RosterUpdate{}
	if args[0] == "claim" {
		up.Claims = []*messages.RosterClaim{{Name: name, Incarnation: n["inc"], Generation: n["gen"], Version: n["ver"], Status: status, Observers: []string{"forger"}}}
	} else {
		up.Records = [][]byte{encode(t, &messages.RosterRecord{Name: name, Incarnation: n["inc"], Generation: n["gen"], Version: n["ver"], Addrs: []string{addr}})}
	}
	from := overlay.Peer{Name: args[2], Incarnation: 99}
	if l := w.Life(args[2]); l != nil {
		from = l.Peer()
	}
	w.Deliver(args[1], "roster", from, up)
}

// TestThreeBecomeOne is the smallest check of the wiring above.
func TestThreeBecomeOne(t *testing.T) {
	w := overlaytest.NewWorld(overlaytest.Config{Seed: 1, Factory: node})
	w.Cluster("a", "b", "c")
	if !w.Until(2*time.Second, func() bool { return whole(w) }) {
		t.Fatalf("three nodes with each other as contacts are not one cluster:\n%s", w)
	}
}
