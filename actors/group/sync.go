package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// pageBytes is what a page of a state or of versions holds, roughly; a control
// message has at most 64 KiB.
const pageBytes = 40 << 10

// maxPages bounds the pages of one state that are taken: MaxEntries of the
// longest names do not fit, usual ones do.
const maxPages = 4096

// ErrBad is what a peer told that no honest one tells.
var ErrBad = errors.New("group: malformed")

// Flush returns the changes of this node's groups since the last Flush, each
// delta small enough for a message.
func (b *Book) Flush() []*messages.GroupDelta {
	var list []*messages.GroupDelta
	size := 0
	for i, op := range b.pending {
		n := 16 + len(op.Group) + len(op.Actor)
		if i == 0 || size+n > pageBytes {
			list = append(list, &messages.GroupDelta{From: b.flushed + uint64(i)})
			size = 0
		}
		size += n
		d := list[len(list)-1]
		d.Ops = append(d.Ops, op)
	}
	b.pending = nil
	return list
}

// Delta takes what a node told of its own groups. behind reports that something
// before it is missing.
func (b *Book) Delta(l overlay.Life, d *messages.GroupDelta, now overlay.Time) (changes []Change, behind bool, err error) {
	from := d.GetFrom()
	if from >= maxVersion || len(d.GetOps()) == 0 {
		return nil, false, ErrBad
	}
	for _, op := range d.GetOps() {
		if err := check(op.GetGroup(), op.GetActor()); err != nil {
			return nil, false, err
		}
	}
	c, to := b.chapter(l, now), from+uint64(len(d.GetOps()))
	switch {
	case c == nil || to <= c.version:
		return nil, false, nil // ours, old, or one stranger too many
	case from > c.version:
		return nil, true, nil
	case c.entries+len(d.GetOps()) > MaxEntries:
		return nil, false, ErrBad
	}
	var order []string
	byGroup := make(map[string]*Change)
	for _, op := range d.GetOps()[c.version-from:] { // a state may have brought the first
		if !c.apply(op) {
			continue
		}
		ch := byGroup[op.GetGroup()]
		if ch == nil {
			ch = &Change{Group: op.GetGroup()}
			byGroup[ch.Group] = ch
			order = append(order, ch.Group)
		}
		m := Member{l, op.GetActor()}
		if op.GetLeave() {
			ch.Left = append(ch.Left, m)
		} else {
			ch.Joined = append(ch.Joined, m)
		}
	}
	b.version(l, c, to)
	if !c.member {
		return nil, false, nil
	}
	for _, g := range order {
		changes = append(changes, *byGroup[g])
	}
	return changes, false, nil
}

func check(group, actor string) error {
	if group == "" || len(group) > MaxName || actor == "" || len(actor) > MaxActor {
		return fmt.Errorf("%w: a group of %d bytes and an actor of %d", ErrBad, len(group), len(actor))
	}
	return nil
}

// Digest stands for all versions: two books with equal ones have nothing to
// tell each other.
func (b *Book) Digest() uint64 { return b.hash }

// Versions are the pages of what is known of all lives, in the order of names.
// There is always one.
func (b *Book) Versions() []*messages.GroupVersions {
	list := []*messages.GroupVersions{{}}
	size, name := 0, ""
	for _, l := range slices.SortedFunc(maps.Keys(b.lives), overlay.Life.Compare) {
		c := b.lives[l]
		if c.version == 0 {
			continue
		}
		page := list[len(list)-1]
		if size > pageBytes && l.Name != name {
			page.Upto = name
			page = &messages.GroupVersions{After: name}
			list, size = append(list, page), 0
		}
		page.Lives = append(page.Lives, version(l, c.version))
		size += 32 + len(l.Name)
		name = l.Name
	}
	return list
}

func version(l overlay.Life, v uint64) *messages.GroupVersion {
	return &messages.GroupVersion{Name: l.Name, Incarnation: uint64(l.Incarnation), Version: v}
}

func lifeOf(v *messages.GroupVersion) (overlay.Life, error) {
	l := overlay.Life{Name: v.GetName(), Incarnation: overlay.Incarnation(v.GetIncarnation())}
	if l.Name == "" || len(l.Name) > overlay.MaxName || l.Incarnation == 0 || v.GetVersion() >= maxVersion {
		return l, ErrBad
	}
	return l, nil
}

// Compare takes a page of another's versions: tell are the lives of which this
// book knows more, ask is the order for those of which it knows less, or nil.
func (b *Book) Compare(page *messages.GroupVersions) (tell []overlay.Life, ask *messages.GroupPull, err error) {
	theirs := make(map[overlay.Life]uint64, len(page.GetLives()))
	for _, v := range page.GetLives() {
		l, err := lifeOf(v)
		if err != nil {
			return nil, nil, err
		}
		theirs[l] = v.GetVersion()
		mine := b.lives[l]
		switch {
		case l == b.self && v.GetVersion() > mine.version:
			// Nobody can know more of this node than it does: whatever that is, it
			// is to be superseded.
			b.version(l, mine, v.GetVersion()+1)
			b.pending = nil
			tell = append(tell, l)
		case l == b.self || mine != nil && mine.version >= v.GetVersion():
		default:
			if ask == nil {
				ask = &messages.GroupPull{}
			}
			known := uint64(0)
			if mine != nil {
				known = mine.version
			}
			ask.Lives = append(ask.Lives, version(l, known))
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(b.lives), overlay.Life.Compare) {
		if l.Name <= page.GetAfter() && page.GetAfter() != "" || l.Name > page.GetUpto() && page.GetUpto() != "" {
			continue
		}
		if b.lives[l].version > theirs[l] && !slices.Contains(tell, l) {
			tell = append(tell, l)
		}
	}
	return tell, ask, nil
}

// Pulled returns the lives of an order of which this book knows more than who
// asks.
func (b *Book) Pulled(m *messages.GroupPull) ([]overlay.Life, error) {
	var list []overlay.Life
	for _, v := range m.GetLives() {
		l, err := lifeOf(v)
		if err != nil {
			return nil, err
		}
		if c := b.lives[l]; c != nil && c.version > v.GetVersion() {
			list = append(list, l)
		}
	}
	return list, nil
}

// StateOf returns the pages of all groups of a life; none if it is not known.
func (b *Book) StateOf(l overlay.Life) []*messages.GroupState {
	c := b.lives[l]
	if c == nil || c.version == 0 {
		return nil
	}
	var list []*messages.GroupState
	var page *messages.GroupState
	size := pageBytes + 1
	for _, g := range slices.Sorted(maps.Keys(c.groups)) {
		var in *messages.GroupActors
		for _, id := range slices.Sorted(maps.Keys(c.groups[g])) {
			if size > pageBytes {
				page = &messages.GroupState{Life: version(l, c.version), Page: uint32(len(list))}
				list, in, size = append(list, page), nil, 0
			}
			if in == nil {
				in = &messages.GroupActors{Group: g}
				page.Groups = append(page.Groups, in)
				size += 8 + len(g)
			}
			in.Actors = append(in.Actors, id)
			size += 4 + len(id)
		}
	}
	if len(list) == 0 {
		list = append(list, &messages.GroupState{Life: version(l, c.version)})
	}
	list[len(list)-1].Last = true
	return list
}

// State takes a page of all groups of a life. news reports that it was the last
// of a state that is newer than what was known.
func (b *Book) State(s *messages.GroupState, now overlay.Time) (changes []Change, news bool, err error) {
	l, err := lifeOf(s.GetLife())
	if err != nil {
		return nil, false, err
	}
	if s.GetPage() >= maxPages || s.GetLife().GetVersion() == 0 {
		return nil, false, ErrBad
	}
	c := b.chapter(l, now)
	v := s.GetLife().GetVersion()
	if c == nil || v <= c.version {
		return nil, false, nil
	}
	in := c.coming
	if s.GetPage() == 0 {
		in = &incoming{version: v, groups: make(map[string]map[string]bool)}
		c.coming = in
	} else if in == nil || in.version != v || in.next != s.GetPage() {
		return nil, false, nil // a page was lost: the next comparison asks again
	}
	in.next++
	for _, g := range s.GetGroups() {
		for _, id := range g.GetActors() {
			if err := check(g.GetGroup(), id); err != nil {
				c.coming = nil
				return nil, false, err
			}
			if in.groups[g.GetGroup()] == nil {
				in.groups[g.GetGroup()] = make(map[string]bool)
			}
			if !in.groups[g.GetGroup()][id] {
				in.groups[g.GetGroup()][id] = true
				in.entries++
			}
		}
	}
	if in.entries > MaxEntries {
		c.coming = nil
		return nil, false, ErrBad
	}
	if !s.GetLast() {
		return nil, false, nil
	}
	if c.member {
		changes = difference(l, c.groups, in.groups)
	}
	c.groups, c.entries, c.coming = in.groups, in.entries, nil
	b.version(l, c, v)
	return changes, true, nil
}
