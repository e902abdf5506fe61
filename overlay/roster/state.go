package roster

import (
	"cmp"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Status is what is known of a member.
type Status uint8

// Statuses, in the order in which they win within a version.
const (
	StatusAlive Status = iota
	StatusSuspect
	StatusDown
	StatusLeft
)

// String returns the status's name.
func (s Status) String() string {
	return [...]string{"alive", "suspect", "down", "left"}[min(s, StatusLeft)]
}

// state is what decides which of two accounts of a name is the newer.
type state struct {
	incarnation overlay.Incarnation
	generation  uint64
	version     uint64
	status      Status
}

// compare orders accounts of one name. A higher generation wins; within one
// generation two lives of a name are told apart by number, so that all nodes
// pick the same; down and left are final; else the higher version wins, and
// suspicion within a version.
func (a state) compare(b state) int {
	switch {
	case a.generation != b.generation:
		return cmp.Compare(a.generation, b.generation)
	case a.incarnation != b.incarnation:
		return cmp.Compare(a.incarnation, b.incarnation)
	case a.status >= StatusDown || b.status >= StatusDown:
		return cmp.Compare(a.status, b.status)
	}
	return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.status, b.status))
}

// final reports whether the life is over for that generation.
func (a state) final() bool { return a.status >= StatusDown }

// sameLife reports whether a and b speak of one generation of one life.
func (a state) sameLife(b state) bool {
	return a.incarnation == b.incarnation && a.generation == b.generation
}

// sane reports whether the numbers that a peer said are within bounds.
func (a state) sane() bool {
	return a.incarnation != 0 && a.generation != 0 && a.generation <= maxNumber && a.version <= maxNumber
}

func stateOfHead(h *messages.RosterHead) state {
	return state{overlay.Incarnation(h.GetIncarnation()), h.GetGeneration(), h.GetVersion(), statusOf(h.GetStatus())}
}

func stateOfClaim(c *messages.RosterClaim) state {
	return state{overlay.Incarnation(c.GetIncarnation()), c.GetGeneration(), c.GetVersion(), statusOf(c.GetStatus())}
}

func statusOf(s messages.RosterStatus) Status { return Status(min(max(s, 0), 3)) }

// stage is where a member stands on the way from a lost link to suspicion.
// There is one timer per member, and the stage says what it means.
type stage uint8

const (
	stageFine    stage = iota // linked, or never was: no timer
	stageGrace                // the link is gone; it may come back
	stageAsking               // neighbors were asked whether they have a link
	stageVouched              // one has; it is asked again later
	stageSuspect              // accused; the timer ends in down
)

// entry is what the machine keeps of a name: one life, the newest.
type entry struct {
	rec       *Record      // of a tombstone that came as a claim only Peer and the numbers
	observers []string     // who accused or declared it
	accused   uint64       // the version accused: only a higher one refutes
	changed   overlay.Time // when the status became what it is, here or elsewhere

	due     overlay.Time          // when the stage's timer is to fire
	verdict *messages.RosterClaim // others have declared it over, we have not yet
	hash    uint64                // its share in the digest
	rounds  uint16                // of asking since the link was lost
	tried   uint16                // how often in this stage

	// Small ones together: there is an entry for each of many members.
	status   Status
	neighbor bool  // an overlay has a link to it
	stage    stage // of our own watch over it
	bucket   uint8
}

func (e *entry) state() state {
	return state{e.rec.Peer.Incarnation, e.rec.Generation, e.rec.Version, e.status}
}

// known reports whether the owner's record is here, not only a claim.
func (e *entry) known() bool { return e.rec.raw != nil }

func (e *entry) member() Member { return Member{e.rec, e.status} }
