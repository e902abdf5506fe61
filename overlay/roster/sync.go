package roster

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

const (
	// page bounds the bytes of records or heads in one message, and with the
	// last one that fits keeps it below the 64 KiB of a control message.
	page = 32 << 10
	// maxPages bounds the answer to one digest; the rest follows with the next.
	maxPages = 8
	// dumpEvery is how often one life may ask for everything when that is more
	// than dumpFree members.
	dumpEvery = time.Second
	dumpFree  = 256
	// maxDumps bounds how many askers are remembered.
	maxDumps = 1024
)

// digest returns the hash of all and of each bucket, ourselves included. A
// bucket's is the sum of its entries' hashes, so order plays no part.
func (m *Machine) digest() (root uint64, sums []uint64) {
	sums = slices.Clone(m.table.sums[:])
	if m.visible {
		name := m.self.Peer.Name
		sums[bucketOf(name)] += hashOf(name, m.selfState())
	}
	h := fnv.New64a()
	for _, s := range sums {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, s))
	}
	return h.Sum64(), sums
}

// sendDigest opens an exchange: first the root alone.
func (m *Machine) sendDigest(to overlay.Peer, out *overlay.Effects) {
	root, _ := m.digest()
	d := &messages.RosterDigest{Root: root}
	if e := m.table.get(to.Name); e != nil && e.known() {
		d.You = headOf(e.rec.Peer.Name, e.state())
	}
	out.Send(to, d)
}

func headOf(name string, s state) *messages.RosterHead {
	return &messages.RosterHead{Name: name, Incarnation: uint64(s.incarnation), Generation: s.generation, Version: s.version, Status: messages.RosterStatus(s.status)}
}

// onDigest answers another root with our buckets, other buckets with the heads
// in those that differ, and a joining node with everything.
func (m *Machine) onDigest(from overlay.Peer, d *messages.RosterDigest, out *overlay.Effects) {
	if n := len(d.GetBuckets()); n != 0 && n != buckets {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	if d.GetYou().GetName() == m.self.Peer.Name {
		m.onEcho(from, stateOfHead(d.GetYou()), out)
	}
	if d.GetJoining() {
		m.dump(from, out)
		return
	}
	root, sums := m.digest()
	switch {
	case len(d.GetBuckets()) == 0 && d.GetRoot() != root:
		if m.cfg.Tree && m.compared != 0 && m.now.Sub(m.compared) < m.cfg.Grace {
			return // while many join all rosters differ, and the tree brings what is new
		}
		m.compared = max(m.now, 1)
		out.Send(from, &messages.RosterDigest{Root: root, Buckets: sums})
	case len(d.GetBuckets()) != 0:
		var differ []uint32
		for i := range uint32(buckets) {
			if sums[i] != d.GetBuckets()[i] {
				differ = append(differ, i)
			}
		}
		m.summarize(from, differ, out)
	}
}

// dump sends everything to a joining node.
func (m *Machine) dump(to overlay.Peer, out *overlay.Effects) {
	life := overlay.Peer{Name: to.Name, Incarnation: to.Incarnation}
	at, ok := m.dumps[life]
	if len(m.table.order) > dumpFree && (ok && m.now.Sub(at) < dumpEvery || !ok && len(m.dumps) >= maxDumps) {
		out.Reject(to, messages.ReasonLimit)
		return
	}
	if ok || len(m.dumps) < maxDumps {
		m.dumps[life] = m.now
	}
	// A node whose own contacts do not answer is the first of its cluster.
	m.visible = m.visible || !m.pending()
	m.sendRecords(to, m.visible, m.table.order, out)
	out.Send(to, &messages.RosterSynced{Members: uint32(len(m.table.order) - m.table.tombs)})
}

// summarize sends the heads in some buckets, in the order of (bucket, name).
func (m *Machine) summarize(to overlay.Peer, which []uint32, out *overlay.Effects) {
	if len(which) == 0 {
		return
	}
	var by [buckets][]*messages.RosterHead
	for _, e := range m.table.order {
		by[e.bucket] = append(by[e.bucket], headOf(e.rec.Peer.Name, e.state()))
	}
	if name := m.self.Peer.Name; m.visible {
		b := bucketOf(name)
		i, _ := slices.BinarySearchFunc(by[b], name, func(h *messages.RosterHead, name string) int {
			if h.GetName() < name {
				return -1
			}
			return 1
		})
		by[b] = slices.Insert(by[b], i, headOf(name, m.selfState()))
	}
	// Begin anywhere, so that no bucket is starved by maxPages.
	k := m.cfg.Rand.IntN(len(which))
	sum, size, pages := &messages.RosterSummary{}, 0, 0
	flush := func(until string) bool {
		sum.Until = until
		out.Send(to, sum)
		size = 0
		pages++
		return pages < maxPages
	}
	for _, b := range slices.Concat(which[k:], which[:k]) {
		if n := len(sum.Buckets); n > 0 && b < sum.Buckets[n-1] { // buckets of a page rise
			if !flush("") {
				return
			}
			sum = &messages.RosterSummary{}
		}
		sum.Buckets = append(sum.Buckets, b)
		for _, h := range by[b] {
			if size > page {
				last := sum.Heads[len(sum.Heads)-1].GetName()
				if bucketOf(last) != b {
					last = ""
					sum.Buckets = sum.Buckets[:len(sum.Buckets)-1]
				}
				if !flush(last) {
					return
				}
				sum = &messages.RosterSummary{Buckets: []uint32{b}, After: last}
			}
			sum.Heads = append(sum.Heads, h)
			size += len(h.GetName()) + 48
		}
	}
	flush("")
}

// onSummary pulls what the peer knows better and sends what we know better.
func (m *Machine) onSummary(from overlay.Peer, sum *messages.RosterSummary, out *overlay.Effects) {
	if !slices.IsSorted(sum.GetBuckets()) || len(sum.GetBuckets()) > buckets {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	theirs := make(map[string]bool, len(sum.GetHeads()))
	send := make(map[string]bool)
	pull := &messages.RosterPull{}
	for _, h := range sum.GetHeads() {
		name, s := h.GetName(), stateOfHead(h)
		if name == "" || len(name) > maxName || !s.sane() || theirs[name] {
			out.Reject(from, messages.ReasonBadFrame)
			return
		}
		theirs[name] = true
		mine := m.selfState()
		if name != m.self.Peer.Name {
			e := m.table.get(name)
			if e == nil {
				pull.Names = append(pull.Names, name)
				continue
			}
			mine = e.state()
		}
		// Suspicion is no difference between rosters.
		for _, x := range []*state{&s, &mine} {
			if x.status == StatusSuspect {
				x.status = StatusAlive
			}
		}
		switch c := s.compare(mine); {
		case c > 0:
			pull.Names = append(pull.Names, name)
		case c < 0:
			send[name] = true
		}
	}
	m.missing(sum, func(name string) {
		if !theirs[name] {
			send[name] = true
		}
	})
	if len(pull.Names) > 0 {
		out.Send(from, pull)
	}
	m.sendNamed(from, send, out)
}

// missing calls f with all names of ours that lie in what a page covers.
func (m *Machine) missing(sum *messages.RosterSummary, f func(name string)) {
	b := sum.GetBuckets()
	covers := func(name string) bool {
		i, ok := slices.BinarySearch(b, bucketOf(name))
		if !ok || i == 0 && name <= sum.GetAfter() {
			return false
		}
		return i < len(b)-1 || sum.GetUntil() == "" || name <= sum.GetUntil()
	}
	for _, e := range m.table.order {
		if covers(e.rec.Peer.Name) {
			f(e.rec.Peer.Name)
		}
	}
	if covers(m.self.Peer.Name) {
		f(m.self.Peer.Name)
	}
}

func (m *Machine) onPull(from overlay.Peer, p *messages.RosterPull, out *overlay.Effects) {
	want := make(map[string]bool, len(p.GetNames()))
	for _, n := range p.GetNames() {
		want[n] = true
	}
	m.sendNamed(from, want, out)
}

func (m *Machine) sendNamed(to overlay.Peer, names map[string]bool, out *overlay.Effects) {
	if len(names) == 0 {
		return
	}
	var list []*entry
	for _, e := range m.table.order {
		if names[e.rec.Peer.Name] {
			list = append(list, e)
		}
	}
	m.sendRecords(to, m.visible && names[m.self.Peer.Name], list, out)
}

// sendRecords sends what we hold of members, a page at a time: records of
// those that live, only claims of those that are gone, so that nobody hears
// of a member that was gone before.
func (m *Machine) sendRecords(to overlay.Peer, self bool, list []*entry, out *overlay.Effects) {
	up, size := &messages.RosterUpdate{}, 0
	if self {
		up.Records = append(up.Records, m.self.raw)
		size += len(m.self.raw)
	}
	for _, e := range list {
		if size > page {
			out.Send(to, up)
			up, size = &messages.RosterUpdate{}, 0
		}
		if e.status < StatusDown {
			up.Records = append(up.Records, e.rec.raw)
			size += len(e.rec.raw) + 8
		}
		if e.status != StatusAlive {
			c := m.claimOf(e)
			up.Claims = append(up.Claims, c)
			size += len(c.GetName()) + len(c.GetAddr()) + 64
			for _, o := range c.GetObservers() {
				size += len(o) + 4
			}
		}
	}
	if size > 0 {
		out.Send(to, up)
	}
}
