package overlaytest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/overlaytest"
)

// greeter is the smallest machine: it dials its contacts, greets on a link,
// sets a timer when greeted, and tells what happens to links.
type greeter struct{ greeted int }

func (g *greeter) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Join:
		for _, c := range ev.Contacts {
			out.Connect(c)
		}
	case overlay.LinkUp:
		out.Notify(up{ev.Peer.Name})
		out.Send(ev.Peer, &messages.RosterSynced{Members: 1})
		out.Send(ev.Peer, &messages.RosterSynced{Members: 2})
	case overlay.LinkDown:
		out.Notify(down{ev.Peer.String(), ev.Reason})
	case overlay.Received:
		g.greeted++
		out.SetTimer(overlay.Timer{Kind: "nap"}, time.Second)
	case overlay.Fired:
		out.CancelTimer(ev.Timer)
	case overlay.Resumed:
		out.Notify(ev)
	}
}

func (g *greeter) Check() error {
	if g.greeted > 5 {
		return fmt.Errorf("greeted %d times", g.greeted)
	}
	return nil
}

func (g *greeter) String() string { return fmt.Sprintf("greeted %d", g.greeted) }

type up struct{ Name string }
type down struct {
	Name   string
	Reason messages.Reason
}

func world(trace func(string)) *overlaytest.World {
	return overlaytest.NewWorld(overlaytest.Config{
		Seed: 1, Trace: trace,
		Factory: func(overlay.Peer, *rand.Rand) *overlaytest.Node {
			return &overlaytest.Node{Machines: []overlaytest.Instance{{Name: "g", Machine: new(greeter)}}}
		},
	})
}

// TestScripts shows the commands and the lines of a trace.
func TestScripts(t *testing.T) {
	overlaytest.Script(t, "testdata/*.txt", func(*testing.T) overlaytest.Handler {
		var out strings.Builder
		w := world(func(l string) { out.WriteString(l + "\n") })
		return func(t *testing.T, args []string) string {
			out.Reset()
			text, ok := w.Command(args)
			if !ok {
				t.Fatalf("no command %q", args[0])
			}
			return out.String() + text
		}
	})
}

// TestRecorderStopsAtABrokenInvariant, with the step that broke it.
func TestRecorderStopsAtABrokenInvariant(t *testing.T) {
	defer func() {
		if s := fmt.Sprint(recover()); !strings.Contains(s, "greeted 6 times") || !strings.Contains(s, "<- b RosterSynced{}") {
			t.Errorf("it panicked with %s", s)
		}
	}()
	r := &overlaytest.Recorder{Name: "a", Machine: &greeter{greeted: 5}}
	var out overlay.Effects
	r.Step(0, overlay.Received{From: overlay.Peer{Name: "b"}, Msg: &messages.RosterSynced{}}, &out)
	t.Error("it went on")
}

// legal checks that what Drive feeds is legal.
type legal struct {
	t      *testing.T
	timers map[overlay.Timer]bool
	calls  map[string]int
	fired  int
}

func (l *legal) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Start:
		out.SetTimer(overlay.Timer{Kind: "x"}, time.Second)
		out.SetTimer(overlay.Timer{Kind: "y"}, time.Second)
		out.CancelTimer(overlay.Timer{Kind: "y"})
		l.timers[overlay.Timer{Kind: "x"}] = true
	case overlay.Fired:
		if !l.timers[ev.Timer] || now < overlay.Time(time.Second) {
			l.t.Fatalf("%v fired at %v", ev.Timer, now)
		}
		l.fired++
		out.SetTimer(ev.Timer, time.Second)
	case overlay.Received:
		out.Connect(overlay.Peer{Addr: "c:1"})
		l.calls["c:1"] = 1
	case overlay.LinkUp:
		l.answered(ev.Contact)
	case overlay.LinkDown:
		if ev.Dial {
			l.answered(ev.Contact)
		}
	}
}

func (l *legal) answered(contact string) {
	if l.calls[contact] != 1 {
		l.t.Fatalf("an answer from %q that was not called", contact)
	}
	l.calls[contact] = 0
}

// TestDriveIsLegal: timers fire only when set and due, calls are answered once.
func TestDriveIsLegal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 4000)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	run := func() ([]string, int) {
		l := &legal{t: t, timers: map[overlay.Timer]bool{}, calls: map[string]int{}}
		v := overlaytest.Drive{
			Machine: l, Peers: []overlay.Peer{{Name: "c", Incarnation: 1, Addr: "c:1"}},
			Message: func(*overlaytest.Dice, overlay.Peer) proto.Message { return &messages.RosterSynced{} },
		}
		return v.Run(overlaytest.NewDice(data)), l.fired
	}
	first, fired := run()
	second, _ := run()
	if fired < 10 || !slices.Equal(first, second) {
		t.Errorf("%d timers fired; the runs are equal: %v", fired, slices.Equal(first, second))
	}
}
