package hyparview

import (
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// sendShuffle starts the walk of a sample of both views (section 4.4).
func (m *Machine) sendShuffle(out *overlay.Effects) {
	to, ok := m.active.Random(m.cfg.Rand, nil)
	if !ok {
		return
	}
	m.shuffle++
	m.shuffled = m.active.Sample(m.shuffled[:0], m.cfg.Rand, m.cfg.ShuffleActive, func(p overlay.Peer) bool { return !p.Same(to) })
	m.shuffled = m.passive.Sample(m.shuffled, m.cfg.Rand, m.cfg.ShufflePassive, nil)
	out.Send(to, &messages.HyparShuffle{
		Origin: overlay.Ref(m.cfg.Self), Id: m.shuffle, Ttl: uint32(m.cfg.ActiveWalk), Path: []string{m.cfg.Self.Name},
		Nodes: refs(m.shuffled), Open: m.free(overlay.Peer{}) > 0,
	})
}

// onShuffle passes a walk on or, at its end, exchanges samples. The answer goes
// back along the walk: at rest nobody dials beyond the overlay.
func (m *Machine) onShuffle(from overlay.Peer, msg *messages.HyparShuffle, out *overlay.Effects) {
	origin, ok := overlay.DialableOf(msg.GetOrigin())
	path := msg.GetPath()
	if !ok || !fit(msg.GetNodes()) || msg.GetTtl() > maxWalk || len(path) == 0 || len(path) > maxWalk || path[len(path)-1] != from.Name || slices.ContainsFunc(path, tooLong) {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if !m.neighbor(from, out) || origin.Name == m.cfg.Self.Name {
		return
	}
	if t := m.account(from); t.shuffles >= 100*perPeriod {
		out.Reject(from, messages.ReasonLimit)
		return
	} else {
		t.shuffles++
	}
	open, ttl := msg.GetOpen(), min(int(msg.GetTtl()), m.cfg.ActiveWalk)
	if open && ttl <= m.cfg.PassiveWalk && m.free(origin) > 0 && !m.concerns(origin) {
		// Two free places meet, far enough from each other to make no cluster.
		open = false
		m.dial(asked{peer: origin, key: origin.Name, why: forLow, places: 1}, out)
	}
	if ttl > 1 && len(path) < maxWalk {
		next, ok := m.active.Random(m.cfg.Rand, func(p overlay.Peer) bool { return !p.Same(from) && !p.Same(origin) })
		if ok {
			out.Send(next, &messages.HyparShuffle{
				Origin: msg.GetOrigin(), Id: msg.GetId(), Ttl: uint32(ttl - 1), Nodes: msg.GetNodes(), Open: open,
				Path: append(slices.Clone(path), m.cfg.Self.Name),
			})
			return
		}
	}
	sample := m.passive.Sample(nil, m.cfg.Rand, len(msg.GetNodes())+1, nil)
	out.Send(from, &messages.HyparShuffleReply{Id: msg.GetId(), Path: path[:len(path)-1], Nodes: refs(sample)})
	m.merge(append(peers(msg.GetNodes()), origin), sample)
}

// onShuffleReply passes an answer back, or takes it.
func (m *Machine) onShuffleReply(from overlay.Peer, msg *messages.HyparShuffleReply, out *overlay.Effects) {
	path := msg.GetPath()
	if !fit(msg.GetNodes()) || len(path) > maxWalk || slices.ContainsFunc(path, tooLong) {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if !m.neighbor(from, out) {
		return
	}
	if len(path) > 0 {
		if back, ok := m.active.Find(path[len(path)-1]); ok {
			out.Send(back, &messages.HyparShuffleReply{Id: msg.GetId(), Path: path[:len(path)-1], Nodes: msg.GetNodes()})
		}
		return
	}
	if msg.GetId() == m.shuffle && len(m.shuffled) > 0 {
		m.merge(peers(msg.GetNodes()), m.shuffled)
		m.shuffled = m.shuffled[:0] // one answer
	}
}

// merge puts peers into the passive view; what was sent to the other side goes
// first (section 4.4).
func (m *Machine) merge(nodes, sent []overlay.Peer) {
	for _, p := range nodes {
		if p.Name == m.cfg.Self.Name {
			continue
		}
		if _, ok := m.active.Find(p.Name); ok {
			continue
		}
		if _, ok := m.passive.Find(p.Name); ok {
			continue
		}
		for m.passive.Len() >= m.cfg.Passive && len(sent) > 0 {
			m.passive.Remove(sent[0])
			sent = sent[1:]
		}
		m.remember(p)
	}
}

func tooLong(s string) bool { return len(s) > overlay.MaxName }

func refs(list []overlay.Peer) []*messages.NodeRef {
	out := make([]*messages.NodeRef, len(list))
	for i, p := range list {
		out[i] = overlay.Ref(p)
	}
	return out
}

// fit reports whether all of a list may be dialed.
func fit(list []*messages.NodeRef) bool {
	for _, n := range list {
		if _, ok := overlay.DialableOf(n); !ok {
			return false
		}
	}
	return len(list) <= maxNodes
}

func peers(list []*messages.NodeRef) []overlay.Peer {
	out := make([]overlay.Peer, 0, len(list)+1)
	for _, n := range list {
		p, _ := overlay.DialableOf(n)
		out = append(out, p)
	}
	return out
}
