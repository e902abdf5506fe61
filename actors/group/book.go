// Package group is the book of process groups, as pure state: which actors of
// which nodes are in which groups, as far as this node knows. Each node is the
// one truth about its own actors, whose changes it numbers: its version. Others
// follow by deltas, which are broadcast, and repair what they missed by comparing
// versions with each other. Package actors sends what the book says. It has no
// lock: callers serialize access.
package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Bounds, our choice. Names are bounded so that any entry fits into a message.
const (
	MaxName      = 255     // of a group, in bytes
	MaxActor     = 1024    // of an actor's id, in bytes
	MaxEntries   = 1 << 17 // (group, actor) pairs of one node
	MaxStrangers = 256     // lives that are told of and are no members
	maxVersion   = 1 << 62
)

// Errors of Join.
var (
	ErrName = errors.New("group: a name has 1 to 255 bytes")
	ErrFull = fmt.Errorf("group: a node's actors are in at most %d groups together", MaxEntries)
)

// Member is an actor in a group.
type Member struct {
	Life  overlay.Life
	Actor string
}

func (m Member) compare(o Member) int {
	if c := m.Life.Compare(o.Life); c != 0 {
		return c
	}
	if m.Actor < o.Actor {
		return -1
	} else if m.Actor > o.Actor {
		return 1
	}
	return 0
}

// Change is what became visible of a group at once.
type Change struct {
	Group        string
	Joined, Left []Member // each in order
}

// Book is the groups as one node knows them. Only actors of members are
// visible: of what is told of other lives the book keeps a little, since the
// news of groups may come before the news of the member.
type Book struct {
	self    overlay.Life
	member  func(overlay.Life) bool
	lives   map[overlay.Life]*chapter
	hash    uint64 // of all versions
	foreign int    // lives that are no members
	pending []*messages.GroupOp
	flushed uint64 // the version that pending begins at
}

// chapter is what is known of one life.
type chapter struct {
	version uint64
	member  bool
	heard   overlay.Time // when first told of, while no member
	groups  map[string]map[string]bool
	entries int
	coming  *incoming
}

// incoming is a state whose pages have not all come.
type incoming struct {
	version uint64
	next    uint32
	groups  map[string]map[string]bool
	entries int
}

// New makes the book of a node that has no groups. member says whether a life of
// another node is a member, when something is told of it for the first time; Up,
// Gone and Reconcile tell of changes from then on.
func New(self overlay.Life, member func(overlay.Life) bool) *Book {
	b := &Book{self: self, member: member, lives: make(map[overlay.Life]*chapter)}
	b.lives[self] = &chapter{member: true, groups: make(map[string]map[string]bool)}
	return b
}

// Join puts an actor of this node into a group. It reports whether it was not
// in it before.
func (b *Book) Join(group, actor string) (bool, error) {
	mine := b.lives[b.self]
	switch {
	case group == "" || len(group) > MaxName || actor == "" || len(actor) > MaxActor:
		return false, ErrName
	case mine.groups[group][actor]:
		return false, nil
	case mine.entries >= MaxEntries:
		return false, ErrFull
	}
	b.own(&messages.GroupOp{Group: group, Actor: actor})
	return true, nil
}

// Leave takes an actor of this node out of a group. It reports whether it was
// in it.
func (b *Book) Leave(group, actor string) bool {
	if !b.lives[b.self].groups[group][actor] {
		return false
	}
	b.own(&messages.GroupOp{Group: group, Actor: actor, Leave: true})
	return true
}

// Ended takes an actor of this node, which has stopped, out of all groups, and
// returns them in order.
func (b *Book) Ended(actor string) []string {
	var left []string
	for group, actors := range b.lives[b.self].groups {
		if actors[actor] {
			left = append(left, group)
		}
	}
	slices.Sort(left)
	for _, group := range left {
		b.Leave(group, actor)
	}
	return left
}

func (b *Book) own(op *messages.GroupOp) {
	mine := b.lives[b.self]
	if len(b.pending) == 0 {
		b.flushed = mine.version
	}
	mine.apply(op)
	b.version(b.self, mine, mine.version+1)
	b.pending = append(b.pending, op)
}

// apply makes a change and reports whether it is one.
func (c *chapter) apply(op *messages.GroupOp) bool {
	actors := c.groups[op.GetGroup()]
	if actors[op.GetActor()] != op.GetLeave() {
		return false
	}
	if op.GetLeave() {
		delete(actors, op.GetActor())
		if len(actors) == 0 {
			delete(c.groups, op.GetGroup())
		}
		c.entries--
		return true
	}
	if actors == nil {
		actors = make(map[string]bool)
		c.groups[op.GetGroup()] = actors
	}
	actors[op.GetActor()] = true
	c.entries++
	return true
}

// version sets a life's version, and the hash with it.
func (b *Book) version(l overlay.Life, c *chapter, v uint64) {
	b.hash ^= fingerprint(l, c.version) ^ fingerprint(l, v)
	c.version = v
}

// fingerprint is a version's part of the hash: none for version 0, which is as
// good as not known.
func fingerprint(l overlay.Life, v uint64) uint64 {
	if v == 0 {
		return 0
	}
	buf := append(make([]byte, 0, 16+len(l.Name)), l.Name...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(l.Incarnation))
	return xxhash.Sum64(binary.BigEndian.AppendUint64(buf, v))
}

// Up tells that a life is a member: what is known of its groups becomes
// visible.
func (b *Book) Up(l overlay.Life) []Change {
	c := b.lives[l]
	if c == nil || c.member {
		return nil
	}
	c.member = true
	b.foreign--
	return difference(l, nil, c.groups)
}

// Gone tells that a life is no member any more: its actors leave.
func (b *Book) Gone(l overlay.Life) []Change {
	c := b.lives[l]
	if c == nil || l == b.self {
		return nil
	}
	b.forget(l, c)
	if !c.member {
		return nil
	}
	return difference(l, c.groups, nil)
}

func (b *Book) forget(l overlay.Life, c *chapter) {
	if !c.member {
		b.foreign--
	}
	b.version(l, c, 0)
	delete(b.lives, l)
}

// Reconcile tells which lives are members, this node's not among them: Up and
// Gone for all at once.
func (b *Book) Reconcile(members []overlay.Life) []Change {
	current := make(map[overlay.Life]bool, len(members))
	var all []Change
	for _, l := range members {
		current[l] = true
	}
	for _, l := range slices.SortedFunc(maps.Keys(b.lives), overlay.Life.Compare) {
		if b.lives[l].member && !current[l] {
			all = append(all, b.Gone(l)...)
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(b.lives), overlay.Life.Compare) {
		if current[l] {
			all = append(all, b.Up(l)...)
		}
	}
	return all
}

// Expire forgets what is told of lives that did not become members within the
// time.
func (b *Book) Expire(now overlay.Time, within time.Duration) {
	if b.foreign == 0 {
		return
	}
	for l, c := range b.lives { // each by itself: the order plays no part
		if !c.member && now.Sub(c.heard) > within {
			b.forget(l, c)
		}
	}
}

// chapter returns what is known of a life of which something is told, or nil
// when it is this node or there are too many strangers.
func (b *Book) chapter(l overlay.Life, now overlay.Time) *chapter {
	if l == b.self {
		return nil
	}
	if c := b.lives[l]; c != nil {
		return c
	}
	c := &chapter{member: b.member(l), heard: now, groups: make(map[string]map[string]bool)}
	if !c.member {
		if b.foreign >= MaxStrangers {
			return nil
		}
		b.foreign++
	}
	b.lives[l] = c
	return c
}

// Members returns the visible members of a group, in order.
func (b *Book) Members(group string) []Member {
	var list []Member
	for l, c := range b.lives {
		if c.member {
			for id := range c.groups[group] {
				list = append(list, Member{l, id})
			}
		}
	}
	slices.SortFunc(list, Member.compare)
	return list
}

// Own returns the actors of this node that are in any group, in order.
func (b *Book) Own() []string {
	seen := make(map[string]bool)
	for _, actors := range b.lives[b.self].groups {
		for id := range actors {
			seen[id] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// difference tells what one set of groups has more and less than another.
func difference(l overlay.Life, before, after map[string]map[string]bool) []Change {
	names := make(map[string]bool)
	for g := range before {
		names[g] = true
	}
	for g := range after {
		names[g] = true
	}
	var list []Change
	for _, g := range slices.Sorted(maps.Keys(names)) {
		ch := Change{Group: g, Joined: more(l, before[g], after[g]), Left: more(l, after[g], before[g])}
		if len(ch.Joined)+len(ch.Left) > 0 {
			list = append(list, ch)
		}
	}
	return list
}

func more(l overlay.Life, a, b map[string]bool) []Member {
	var list []Member
	for id := range b {
		if !a[id] {
			list = append(list, Member{l, id})
		}
	}
	slices.SortFunc(list, Member.compare)
	return list
}
