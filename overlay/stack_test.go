package overlay_test

import (
	"fmt"
	"testing"

	"github.com/maquis-go/maquis/overlay"
)

// base answers LinkUp with NeighborUp; layer writes down what it is fed.
type base struct{}

func (base) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	if up, ok := ev.(overlay.LinkUp); ok {
		out.Notify(overlay.NeighborUp{Peer: up.Peer})
	}
}

type layer struct{ fed []string }

func (l *layer) Owns(ev overlay.Event) bool { _, ok := ev.(overlay.Publish); return ok }

func (l *layer) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	l.fed = append(l.fed, fmt.Sprintf("%T", ev))
	if up, ok := ev.(overlay.NeighborUp); ok {
		out.Send(up.Peer, nil)
	}
}

func TestStackFeedsItsLayers(t *testing.T) {
	l := new(layer)
	s := overlay.NewStack(base{}, l)
	var out overlay.Effects
	p := overlay.Peer{Name: "a", Incarnation: 1}
	for _, ev := range []overlay.Event{overlay.Start{}, overlay.Join{}, overlay.LinkUp{Peer: p}, overlay.Publish{}, overlay.Leave{}} {
		s.Step(0, ev, &out)
	}
	if got := fmt.Sprint(l.fed); got != "[overlay.Start overlay.NeighborUp overlay.Publish overlay.Leave]" {
		t.Errorf("the layer was fed %s", got)
	}
	if out.Len() != 2 || out.All()[0].Kind != overlay.EffectNotify || out.All()[1].Kind != overlay.EffectSend {
		t.Errorf("the effects are %v: the notice first, then what the layer did", out.All())
	}
}

// tree is a broadcast tree of one node: what is published is delivered at once.
type tree struct{ layer }

func (t *tree) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	t.layer.Step(now, ev, out)
	if p, ok := ev.(overlay.Publish); ok {
		out.Notify(overlay.Delivered{ID: p.ID, Subject: p.Subject, Payload: p.Payload})
	}
}

// talker publishes once a neighbor is there, and owns nothing.
type talker struct{ layer }

func (*talker) Owns(overlay.Event) bool { return false }

func (t *talker) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	t.fed = append(t.fed, fmt.Sprintf("%T", ev))
	if _, ok := ev.(overlay.NeighborUp); ok {
		out.Notify(overlay.Publish{Subject: "talk", Payload: []byte("hello")})
	}
}

func TestStackPublishesOverTheTreeOfAnotherLayer(t *testing.T) {
	var tr tree
	var speaker, listener talker
	s := overlay.NewStack(base{}, &tr, &speaker, &listener)
	var out overlay.Effects
	s.Step(0, overlay.LinkUp{Peer: overlay.Peer{Name: "a", Incarnation: 1}}, &out)
	for _, fed := range []struct {
		got  []string
		want string
	}{
		{tr.fed, "[overlay.NeighborUp overlay.Publish overlay.Publish]"},
		{speaker.fed, "[overlay.NeighborUp overlay.Delivered overlay.Delivered]"},
		{listener.fed, "[overlay.NeighborUp overlay.Delivered overlay.Delivered]"},
	} {
		if got := fmt.Sprint(fed.got); got != fed.want {
			t.Errorf("a layer was fed %s, want %s", got, fed.want)
		}
	}
	for _, e := range out.All() {
		if _, ok := e.Notice.(overlay.Publish); ok && e.Kind == overlay.EffectNotify {
			t.Error("Publish reached the driver: it was done within the stack")
		}
	}
}
