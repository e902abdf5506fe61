package overlaytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Command executes a standard command of a script on a world. ok is false if
// there is none of that name. Commands:
//
//	start a b c          begin lives
//	start x as a         begin a life at x:1 under the name a
//	join a b c           a joins with b:1 and c:1 as contacts
//	cluster a b c        start all, each with the others as contacts, at once
//	memberup a | b c     tell a's first machine that b and c are members, in the
//	                     lives that they have; a may be *, all
//	memberdown a | b c   and that they are no more
//	publish a text       have a's first machine broadcast
//	leave a, crash a, restart a, stop a, continue a
//	cut a b | c d        cut the left from the right; without | all pairs
//	heal                 end all cuts
//	advance 1.5s
//	state                a line per machine
func (w *World) Command(args []string) (out string, ok bool) {
	rest := args[1:]
	switch args[0] {
	case "start":
		if len(rest) == 3 && rest[1] == "as" {
			w.StartAs(rest[0], rest[2])
			break
		}
		for _, n := range rest {
			w.Start(n)
		}
	case "join":
		w.Join(rest[0], rest[1:]...)
	case "cluster":
		w.Cluster(rest...)
	case "memberup", "memberdown":
		left, right, _ := strings.Cut(strings.Join(rest, " "), "|")
		for _, l := range w.Lives() {
			if !slices.Contains(strings.Fields(left), l.id) && strings.TrimSpace(left) != "*" {
				continue
			}
			for _, n := range strings.Fields(right) {
				p := w.host(n).last
				switch {
				case p == l.peer:
				case args[0] == "memberup":
					l.Feed(l.node.Machines[0].Name, overlay.MemberUp{Peer: p})
				default:
					l.Feed(l.node.Machines[0].Name, overlay.MemberDown{Peer: p})
				}
			}
		}
	case "publish":
		l := w.Life(rest[0])
		l.Feed(l.node.Machines[0].Name, overlay.Publish{Payload: []byte(strings.Join(rest[1:], " "))})
	case "leave":
		l := w.Life(rest[0])
		l.Feed(l.node.Machines[0].Name, overlay.Leave{})
	case "crash":
		w.Crash(rest[0])
	case "restart":
		w.Crash(rest[0])
		w.Start(rest[0])
	case "stop":
		w.Stop(rest[0])
	case "continue":
		w.Continue(rest[0])
	case "cut":
		left, right, split := strings.Cut(strings.Join(rest, " "), "|")
		a, b := strings.Fields(left), strings.Fields(right)
		if !split {
			b = a
		}
		for _, x := range a {
			for _, y := range b {
				if x != y {
					w.Cut(x, y, true)
				}
			}
		}
	case "heal":
		w.Heal()
	case "advance":
		d, err := time.ParseDuration(rest[0])
		if err != nil {
			return fmt.Sprintf("error: %v\n", err), true
		}
		w.Advance(d)
	case "state":
		return w.String(), true
	default:
		return "", false
	}
	return "", true
}

// Join tells the first machine of a node to join through others.
func (w *World) Join(id string, contacts ...string) {
	l := w.Life(id)
	var ev overlay.Join
	for _, c := range contacts {
		ev.Contacts = append(ev.Contacts, overlay.Peer{Addr: c + ":1"})
	}
	l.Feed(l.node.Machines[0].Name, ev)
}

// Cluster starts nodes at the same moment, each with all others as contacts.
func (w *World) Cluster(names ...string) {
	for _, n := range names {
		w.Start(n)
	}
	for _, n := range names {
		var others []string
		for _, o := range names {
			if o != n {
				others = append(others, o)
			}
		}
		w.Join(n, others...)
	}
}
