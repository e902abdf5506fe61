package plumtree

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// lifted is a message of our own that the root of its tree got.
type lifted struct {
	msg *messages.PlumGossip
	at  overlay.Time
}

// vouch notes the root of a message's tree, if the message has been there.
func (m *Machine) vouch(t *tree, msg *messages.PlumGossip) {
	if ref := msg.GetRoot(); ref != nil && msg.GetWave() == msg.GetTree() {
		if t.root.Addr != ref.GetAddr() || t.root.Name != ref.GetName() {
			t.root, _ = overlay.PeerOf(ref)
		}
		t.heard = max(m.now, 1)
	}
}

// lifts reports whether a message of our own has a head start at the root.
func (m *Machine) lifts(subject string) bool {
	return m.cfg.HeadStart > 0 && len(m.lifted) < maxLifted && (m.lowered == 0 || m.now.Sub(m.lowered) >= lowFor) &&
		(m.cfg.Lift == nil || m.cfg.Lift(subject))
}

// lift brings a message of our own to the root of its tree: from there it goes
// along the tree, to us as to all others.
func (m *Machine) lift(msg *messages.PlumGossip, root overlay.Peer, out *overlay.Effects) {
	up := copyOf(msg)
	up.Spread, up.OffTree, up.Lifted = 0, true, true
	if m.slot(root) >= 0 {
		out.Send(root, up)
	} else {
		out.Notify(overlay.Carry{To: root, Msg: up})
	}
	m.lifted = append(m.lifted, lifted{msg, m.now})
	out.SetTimer(m.liftedTimer(msg.GetSeq()), m.patience(m.cfg.HeadStart))
}

func (m *Machine) liftedTimer(seq uint64) overlay.Timer {
	return overlay.Timer{Kind: timerLifted, ID: overlay.MessageID{Origin: m.cfg.Self.Name, Incarnation: m.cfg.Self.Incarnation, Seq: seq}}
}

// back returns the message of our own with a number that its root got, and ends
// the wait for it.
func (m *Machine) back(seq uint64, out *overlay.Effects) *messages.PlumGossip {
	for i, l := range m.lifted {
		if l.msg.GetSeq() == seq {
			m.lifted = slices.Delete(m.lifted, i, i+1)
			out.CancelTimer(m.liftedTimer(seq))
			l.msg.AgeMs = uint32(m.now.Sub(l.at) / time.Millisecond) // what went to the root is a copy
			return l.msg
		}
	}
	return nil
}

// lower has a message go out from here that did not come back in time. For a
// while the next ones are not lifted: the root is far, busy or gone.
func (m *Machine) lower(seq uint64, out *overlay.Effects) {
	if msg := m.back(seq, out); msg != nil {
		m.lowered = max(m.now, 1)
		m.push(msg, -1, -1, out)
	}
}
