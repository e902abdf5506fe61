package roster

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Notifications, in the order in which things happen: the Down or Gone of a
// life always comes before the Up of the next.
type (
	// Up tells of a new member, or of one that is back.
	Up struct{ Member Member }
	// Suspected tells that observers lost a member.
	Suspected struct {
		Member Member
		By     []string
	}
	// Cleared tells that a suspect refuted, or returned with a higher
	// generation before it was declared down here.
	Cleared struct{ Member Member }
	// Down tells that a member is gone without a farewell. Its sessions, flows
	// and watches up to Member.Generation are over. With
	// messages.ReasonPastLife another life of the name has followed it.
	Down struct {
		Member Member
		Reason messages.Reason
	}
	// Gone tells that a member has left in order, or that one that was down or
	// suspect was made to leave.
	Gone struct{ Member Member }
	// Updated tells that a member changed its record.
	Updated struct{ Old, New Member }
	// SelfChanged tells that this node's own record has changed: its
	// generation is to be used in handshakes from now on. If the generation
	// rose, others had declared the lower one down: what stood with those is
	// over.
	SelfChanged struct{ Self Record }
	// Joined tells that a contact has answered with its roster and, the first
	// time, that a second member knows us (or that there is none).
	Joined struct{ Via overlay.Peer }
	// JoinFailed tells that a contact could not be reached or refused; it is
	// tried again, unless Reason is messages.ReasonSelf or ReasonLimit.
	JoinFailed struct {
		Contact string
		Reason  messages.Reason
	}
	// NameTaken tells that another live node has this node's name. Either a
	// contact said so, or By is the life that others take for the name's
	// owner: this node is no member until that life is over.
	NameTaken struct {
		Contact string
		By      overlay.Peer
	}
	// Isolated tells that no link to any member is left; contacts are being
	// called. NotIsolated ends it.
	Isolated    struct{ Since overlay.Time }
	NotIsolated struct{}
	// Met tells that a call to somebody outside this half of the cluster, a down
	// member or a seed, was answered. On partial views the overlay is to join
	// through it.
	Met struct{ Peer overlay.Peer }
	// LeaveDone tells that the farewell was sent.
	LeaveDone struct{}
)

// Orders in overlay.Command.
type (
	// SetTags replaces this node's tags.
	SetTags struct{ Tags map[string]string }
	// SetKinds replaces this node's kinds.
	SetKinds struct{ Kinds []string }
	// SetLeaving tells all that this node takes no new work, or ends that.
	SetLeaving struct{ Leaving bool }
	// SetRecord replaces what this node says of itself: everything but Peer's
	// name and incarnation, Generation and Version, which are the machine's.
	SetRecord struct{ Record Record }
	// ForceLeave declares a member that is down or suspect gone for good.
	ForceLeave struct{ Name string }
)
