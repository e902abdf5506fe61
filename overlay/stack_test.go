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
