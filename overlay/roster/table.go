package roster

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// buckets is the number of parts in which digests compare rosters.
const buckets = 64

// table is the list of all others: sorted, so that walking it is
// deterministic, with the digest kept as entries change.
type table struct {
	byName map[string]*entry
	order  []*entry // all, by name
	near   []*entry // the neighbors, by name
	tombs  int      // entries that are down or left
	doubts int      // entries that are suspect
	sums   [buckets]uint64
}

func byName(e *entry, name string) int { return cmp.Compare(e.rec.Peer.Name, name) }

func (t *table) get(name string) *entry { return t.byName[name] }

// holder returns the entry that holds the very record that b encodes, or nil: most
// records that come have come before, and need not be decoded again.
func (t *table) holder(b []byte) *entry {
	num, typ, n := protowire.ConsumeTag(b)
	if num != 1 || typ != protowire.BytesType || n < 0 {
		return nil
	}
	name, n := protowire.ConsumeBytes(b[n:])
	if n < 0 {
		return nil
	}
	if e := t.byName[string(name)]; e != nil && bytes.Equal(e.rec.raw, b) {
		return e
	}
	return nil
}

// put adds an entry whose name is not there yet.
func (t *table) put(e *entry) {
	name := e.rec.Peer.Name
	t.byName[name] = e
	i, _ := slices.BinarySearchFunc(t.order, name, byName)
	t.order = slices.Insert(t.order, i, e)
	e.bucket = uint8(bucketOf(name))
	e.hash = hashOf(name, e.state())
	t.sums[e.bucket] += e.hash
	t.count(e, 1)
}

// count adds an entry to the counts by status, or takes it out.
func (t *table) count(e *entry, n int) {
	switch {
	case e.status >= StatusDown:
		t.tombs += n
	case e.status == StatusSuspect:
		t.doubts += n
	}
}

// remove forgets an entry that is no neighbor.
func (t *table) remove(e *entry) {
	name := e.rec.Peer.Name
	delete(t.byName, name)
	if i, ok := slices.BinarySearchFunc(t.order, name, byName); ok {
		t.order = slices.Delete(t.order, i, i+1)
	}
	t.sums[e.bucket] -= e.hash
	t.count(e, -1)
}

// change alters an entry and keeps digest and counts.
func (t *table) change(e *entry, rec *Record, s Status) {
	t.count(e, -1)
	e.rec, e.status = rec, s
	t.count(e, 1)
	t.sums[e.bucket] -= e.hash
	e.hash = hashOf(rec.Peer.Name, e.state())
	t.sums[e.bucket] += e.hash
}

// link says whether an overlay has a link to the entry's owner.
func (t *table) link(e *entry, up bool) {
	if e.neighbor == up {
		return
	}
	e.neighbor = up
	i, _ := slices.BinarySearchFunc(t.near, e.rec.Peer.Name, byName)
	if up {
		t.near = slices.Insert(t.near, i, e)
	} else {
		t.near = slices.Delete(t.near, i, i+1)
	}
}

// oldestTomb returns the tombstone that is nearest to its end, or nil.
func (t *table) oldestTomb() *entry {
	var old *entry
	for _, e := range t.order {
		if e.status >= StatusDown && (old == nil || e.changed < old.changed) {
			old = e
		}
	}
	return old
}

func bucketOf(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() % buckets
}

// hashOf is an entry's share in its bucket's sum. Suspicion is left out: it is
// spread as news and ends by itself. So is the version of one that is gone.
func hashOf(name string, s state) uint64 {
	b := make([]byte, 0, 128)
	b = append(append(b, name...), 0)
	b = strconv.AppendUint(b, uint64(s.incarnation), 36)
	b = strconv.AppendUint(append(b, '/'), s.generation, 36)
	if s.final() {
		b = append(b, '/', byte(s.status))
	} else {
		b = strconv.AppendUint(append(b, '+'), s.version, 36)
	}
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}
