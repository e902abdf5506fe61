package roster

import (
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Notifications, in the order in which things happen: the Down of a life
// always comes before the Up of the next.
type (
	// Up tells of a new member, or of one that is back.
	Up struct{ Member Member }
	// Suspected tells that observers lost a member.
	Suspected struct {
		Member Member
		By     []string
	}
	// Cleared tells that a suspect refuted.
	Cleared struct{ Member Member }
	// Down tells that a member is gone without a farewell.
	Down struct {
		Member Member
		Reason messages.Reason
	}
	// Gone tells that a member has left in order.
	Gone struct{ Member Member }
	// Updated tells that a member changed its record.
	Updated struct{ Old, New Member }
	// SelfChanged tells that this node's own record has changed: its
	// generation and version are to be used from now on.
	SelfChanged struct{ Self Record }
	// Joined tells that a contact has answered with its roster.
	Joined struct{ Via overlay.Peer }
	// JoinFailed tells that a contact could not be reached or refused; it is
	// tried again.
	JoinFailed struct {
		Contact string
		Reason  messages.Reason
	}
	// NameTaken tells that another live node has this node's name.
	NameTaken struct{ Contact string }
	// LeaveDone tells that the farewell was sent.
	LeaveDone struct{}
)

// Orders in overlay.Command.
type (
	// SetTags replaces this node's tags.
	SetTags struct{ Tags map[string]string }
	// SetKinds replaces this node's kinds.
	SetKinds struct{ Kinds []string }
	// ForceLeave declares a member that is down or suspect gone for good.
	ForceLeave struct{ Name string }
)
