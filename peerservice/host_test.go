package peerservice

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// scripted is a machine that does what the commands say and records what it
// is fed.
type scripted struct {
	mu  sync.Mutex
	fed []string
}

// doing is a command to a scripted machine.
type doing func(out *overlay.Effects)

func (s *scripted) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	line := strings.TrimPrefix(fmt.Sprintf("%T", ev), "overlay.")
	switch ev := ev.(type) {
	case overlay.Command:
		ev.Order.(doing)(out)
		return
	case overlay.Fired:
		line = fmt.Sprintf("%v %s %s", now, line, ev.Timer.Kind)
	case overlay.Resumed:
		line = fmt.Sprintf("%v %s %v", now, line, ev.Gap)
	case overlay.LinkDown:
		line = fmt.Sprintf("%v %s %s%s %s", now, line, ev.Peer.Name, ev.Contact, ev.Reason)
	case overlay.Received:
		line = fmt.Sprintf("%s %s", line, ev.From.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fed = append(s.fed, line)
}

func (s *scripted) lines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.fed, "\n")
}

// script runs a test with a scripted machine in place of node a's overlay.
func script(t *testing.T, test func(t *testing.T, c *cluster, m *scripted, do func(doing))) {
	bubble(t, func(t *testing.T, c *cluster) {
		m := &scripted{}
		a := c.start("a", nil, func(cfg *Config) {
			cfg.wrap = func(instance string, inner overlay.Machine) overlay.Machine {
				if instance == mainInstance {
					return m
				}
				return inner
			}
		})
		test(t, c, m, func(d doing) { a.svc.tellStacks(false, overlay.Command{Order: d}) })
	})
}

func timerOf(kind overlay.TimerKind) overlay.Timer { return overlay.Timer{Kind: kind} }

// One timer per key; a replaced or cancelled one is never delivered.
func TestTimers(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, do func(doing)) {
		do(func(out *overlay.Effects) {
			out.SetTimer(timerOf("replaced"), 100*time.Millisecond)
			out.SetTimer(timerOf("cancelled"), 100*time.Millisecond)
			out.SetTimer(timerOf("kept"), 300*time.Millisecond)
			out.SetTimer(timerOf("replaced"), 200*time.Millisecond)
			out.CancelTimer(timerOf("cancelled"))
		})
		c.pass(time.Second)
		require.Equal(t, "Start\n0.200s Fired replaced\n0.300s Fired kept", m.lines())
	})
}

// A timer that has fired while its host was busy, and is replaced before its
// message is read, is not delivered.
func TestTimerReplacedWhileItsMessageWaits(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, do func(doing)) {
		do(func(out *overlay.Effects) {
			out.SetTimer(timerOf("x"), 100*time.Millisecond)
		})
		do(func(out *overlay.Effects) {
			c.pass(500 * time.Millisecond) // the host is busy: x fires into its mailbox
			out.SetTimer(timerOf("x"), time.Second)
		})
		c.pass(3 * time.Second)
		require.Equal(t, "Start\n1.500s Fired x", m.lines())
	})
}

// A host that was starved tells its machine so before anything else, once.
func TestLateTimersAreToldFirst(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, do func(doing)) {
		do(func(out *overlay.Effects) {
			for _, k := range []overlay.TimerKind{"x", "y"} {
				out.SetTimer(timerOf(k), time.Second)
			}
		})
		do(func(*overlay.Effects) { c.pass(10 * time.Second) })
		c.pass(20 * time.Second)
		fed := strings.Split(m.lines(), "\n")
		require.Equal(t, []string{"Start", "10.000s Resumed 9s"}, fed[:2])
		require.ElementsMatch(t, []string{"10.000s Fired x", "10.000s Fired y"}, fed[2:])
		require.Equal(t, uint64(1), c.nodes["a"].svc.Stats()["resumed"])
	})
}

// What comes first after a suspension may be a message: the machine learns of
// the suspension before it.
func TestSuspensionIsToldBeforeMessages(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, do func(doing)) {
		a := c.nodes["a"]
		do(func(out *overlay.Effects) { out.SetTimer(timerOf("x"), 2*time.Second) })
		do(func(*overlay.Effects) {
			a.system.Root.Send(a.svc.pids["stack-main"], &messages.LinkDown{Peer: &messages.NodeRef{Name: "b"}, Reason: "reset"})
			c.pass(10 * time.Second)
		})
		c.pass(11 * time.Second)
		require.Equal(t, "Start\n10.000s Resumed 8s\n10.000s LinkDown b reset\n10.000s Fired x", m.lines())
	})
}

// Each Connect is answered, by the host itself if the answer got lost.
func TestUnansweredConnect(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, do func(doing)) {
		c.nodes["a"].strike(channelsPart, "*messages.Connect")
		do(func(out *overlay.Effects) { out.Connect(overlay.Peer{Name: "b", Incarnation: 7, Addr: addr("b")}) })
		do(func(out *overlay.Effects) { out.Connect(overlay.Peer{Addr: addr("x")}) })
		c.pass(time.Minute)
		require.Contains(t, m.lines(), "30.000s LinkDown b timeout")
		require.Contains(t, m.lines(), "LinkDown "+addr("x")+" refused")
		require.Equal(t, 2, strings.Count(m.lines(), "LinkDown"))
	})
}

// Frames that a host cannot decode are counted, and the bound on waiting
// frames is settled.
func TestUndecodableFrame(t *testing.T) {
	script(t, func(t *testing.T, c *cluster, m *scripted, _ func(doing)) {
		a := c.nodes["a"]
		a.system.Root.Send(a.svc.pids["stack-main"], &messages.OverlayInbound{From: &messages.NodeRef{Name: "b"}, Type: "no.such.Type"})
		a.system.Root.Send(a.svc.pids["stack-main"], &messages.OverlayInbound{From: &messages.NodeRef{Name: "b"}, Type: "maquis.v1.Tick"})
		c.pass(time.Second)
		require.Equal(t, "Start\nReceived b", m.lines())
		require.Equal(t, uint64(1), a.svc.Stats()["rejected_malformed"])
	})
}
