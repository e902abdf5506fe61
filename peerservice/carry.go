package peerservice

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Bounds of what waits for a link, our choice. All of it also comes another way.
const (
	maxCarried = 64
	carryFor   = 3 * time.Second // a dial
)

// carried is a message of an overlay for a member that is no neighbor, which
// waits for a link to it.
type carried struct {
	to    overlay.Peer
	msg   *messages.PlumLift
	until time.Time
}

// carry brings a message to the machine of the same overlay at a member, from
// runtime to runtime: over the link that there is, be it a circuit, or over one
// that is opened for it.
func (s *Service) carry(instance string, n overlay.Carry) {
	g, ok := n.Msg.(*messages.PlumGossip)
	sess, why := s.Session(n.To.Name)
	if !ok || why != "" || !sess.Peer().Same(n.To) {
		s.counters.add("uncarried")
		return
	}
	msg := &messages.PlumLift{Overlay: instance, Message: g}
	if sess.SendControl(msg) == nil {
		s.counters.add("carried")
		return
	}
	now := time.Now()
	s.mu.Lock()
	s.carried = slices.DeleteFunc(s.carried, func(c carried) bool {
		late := c.until.Before(now)
		if late {
			s.counters.add("uncarried")
		}
		return late
	})
	full := len(s.carried) >= maxCarried
	if !full {
		s.carried = append(s.carried, carried{n.To, msg, now.Add(carryFor)})
	}
	s.mu.Unlock()
	switch {
	case full:
		s.counters.add("uncarried")
	case sess.Linked(): // meanwhile
		s.bring(n.To)
	default:
		sess.Open()
	}
}

// bring sends what waits for a link to a peer.
func (s *Service) bring(p overlay.Peer) {
	var list []carried
	s.mu.Lock()
	s.carried = slices.DeleteFunc(s.carried, func(c carried) bool {
		mine := c.to.Same(p)
		if mine {
			list = append(list, c)
		}
		return mine
	})
	s.mu.Unlock()
	for _, c := range list {
		sess, why := s.Session(p.Name)
		if why == "" && sess.Peer().Same(p) && sess.SendControl(c.msg) == nil {
			s.counters.add("carried")
		} else {
			s.counters.add("uncarried")
		}
	}
}

// Lifted takes a message that another runtime brought for an overlay's machine.
func (s *Service) Lifted(from overlay.Peer, m *messages.PlumLift) {
	for _, o := range s.overlays {
		if o.ID == m.GetOverlay() {
			s.counters.add("lifted")
			s.tellStack(o, overlay.Received{From: from, Msg: m.GetMessage()})
			return
		}
	}
	s.rejected(from, messages.ReasonMalformed)
}
