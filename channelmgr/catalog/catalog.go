// Package catalog is what a node knows of the channels of its cluster, as pure
// state: entries with versions, of which the last stands, and those of the
// node's own configuration, which are compared with other nodes' and not taken
// over. Nodes converge whatever the order in which they hear of changes.
//
// Callers serialize access.
package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
)

// Bounds of a catalog, our choice.
const (
	// MaxEntries bounds the names that a catalog knows, removed ones included.
	MaxEntries = 256
	// MaxEntry bounds an entry's encoding, in bytes.
	MaxEntry = 8 << 10
	// maxJump bounds how far above what is known a peer may push a version.
	maxJump = 1 << 40
)

// Drift is a channel that two nodes' configurations describe differently.
type Drift struct {
	Channel      string
	Ours, Theirs *messages.ChannelEntry
}

// Catalog is the entries by name.
type Catalog struct {
	own     map[string]*messages.ChannelEntry // the configuration's
	agreed  map[string]*messages.ChannelEntry // of the cluster: what stands above own
	highest uint64
}

// New makes a catalog of the entries of a node's configuration.
func New(own ...*messages.ChannelEntry) *Catalog {
	c := &Catalog{own: make(map[string]*messages.ChannelEntry), agreed: make(map[string]*messages.ChannelEntry)}
	for _, e := range own {
		e = proto.Clone(e).(*messages.ChannelEntry)
		e.Version, e.Origin, e.Removed = 0, "", false
		c.own[e.GetName()] = e
	}
	return c
}

// With returns a catalog that knows the same of the cluster, and own in place of
// what the configuration said.
func (c *Catalog) With(own ...*messages.ChannelEntry) *Catalog {
	next := New(own...)
	next.agreed, next.highest = maps.Clone(c.agreed), c.highest
	return next
}

// Get returns the entry that stands for a name, nil if there is none.
func (c *Catalog) Get(name string) *messages.ChannelEntry {
	if e := c.agreed[name]; e != nil {
		return e
	}
	return c.own[name]
}

// Entries returns what stands, sorted by name, removed channels included.
func (c *Catalog) Entries() []*messages.ChannelEntry {
	names := slices.Concat(slices.Collect(maps.Keys(c.own)), slices.Collect(maps.Keys(c.agreed)))
	slices.Sort(names)
	list := make([]*messages.ChannelEntry, 0, len(names))
	for _, name := range slices.Compact(names) {
		list = append(list, c.Get(name))
	}
	return list
}

// Set makes an entry the one that stands everywhere, and returns it with its
// version. An error says which bound it breaks.
func (c *Catalog) Set(e *messages.ChannelEntry, origin string) (*messages.ChannelEntry, error) {
	e = proto.Clone(e).(*messages.ChannelEntry)
	e.Version, e.Origin = c.highest+1, origin
	if err := c.check(e); err != nil {
		return nil, err
	}
	c.put(e)
	return e, nil
}

// check reports why an entry cannot be kept.
func (c *Catalog) check(e *messages.ChannelEntry) error {
	switch n := proto.Size(e); {
	case e.GetName() == "":
		return errors.New("catalog: an entry without a name")
	case n > MaxEntry:
		return fmt.Errorf("catalog: channel %q takes %d bytes to describe; at most %d are allowed, use fewer types", e.GetName(), n, MaxEntry)
	case e.GetVersion() > c.highest+maxJump:
		return fmt.Errorf("catalog: channel %q: version %d is far beyond %d, the highest here", e.GetName(), e.GetVersion(), c.highest)
	case c.Get(e.GetName()) == nil && len(c.own)+len(c.agreed) >= MaxEntries:
		return fmt.Errorf("catalog: channel %q is one too many: %d names are known, removed ones included", e.GetName(), MaxEntries)
	}
	return nil
}

func (c *Catalog) put(e *messages.ChannelEntry) {
	c.agreed[e.GetName()] = e
	c.highest = max(c.highest, e.GetVersion())
}

// Merge takes what another node says and returns the entries that stand now and
// did not before, and where the two configurations differ. Entries beyond a
// bound are left out; err says why.
func (c *Catalog) Merge(entries []*messages.ChannelEntry) (news []*messages.ChannelEntry, drift []Drift, err error) {
	var errs []error
	for _, e := range entries {
		ours := c.Get(e.GetName())
		switch {
		case e.GetVersion() == 0:
			if ours != nil && ours.GetVersion() == 0 && !same(ours, e) {
				drift = append(drift, Drift{Channel: e.GetName(), Ours: ours, Theirs: e})
			}
		case ours == nil || newer(e, ours):
			if why := c.check(e); why != nil {
				errs = append(errs, why)
				continue
			}
			c.put(e)
			news = append(news, e)
		}
	}
	return news, drift, errors.Join(errs...)
}

// newer reports whether a stands above b.
func newer(a, b *messages.ChannelEntry) bool {
	if a.GetVersion() != b.GetVersion() {
		return a.GetVersion() > b.GetVersion()
	}
	if a.GetOrigin() != b.GetOrigin() {
		return a.GetOrigin() > b.GetOrigin()
	}
	return string(encoded(a)) > string(encoded(b)) // one origin that said two things
}

// same reports whether two entries describe one channel alike. The order of
// types does not matter.
func same(a, b *messages.ChannelEntry) bool {
	return string(encoded(a)) == string(encoded(b))
}

// encoded is an entry in the one form that all nodes make of it.
func encoded(e *messages.ChannelEntry) []byte {
	if !slices.IsSorted(e.GetTypes()) {
		e = proto.Clone(e).(*messages.ChannelEntry)
		slices.Sort(e.Types)
	}
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	return b
}

// Hash returns the same number for all catalogs in which the same stands.
func (c *Catalog) Hash() uint64 {
	h := xxhash.New()
	for _, e := range c.Entries() {
		b := encoded(e)
		_, _ = h.Write([]byte{byte(len(b) >> 8), byte(len(b))})
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// Differing returns what stands here and is not among the entries of another.
func (c *Catalog) Differing(from []*messages.ChannelEntry) []*messages.ChannelEntry {
	theirs := make(map[string]*messages.ChannelEntry, len(from))
	for _, e := range from {
		theirs[e.GetName()] = e
	}
	return slices.DeleteFunc(c.Entries(), func(e *messages.ChannelEntry) bool {
		t := theirs[e.GetName()]
		return t != nil && same(e, t)
	})
}
