package peerservice

import (
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay/roster"
)

// Event is a change of the membership. The set is closed.
type Event interface{ event() }

type (
	// Snapshot is the first event of every subscription, and the next one
	// after a subscriber fell behind.
	Snapshot struct{ Members []roster.Member }
	// Up tells of a member that is new or back.
	Up struct{ Member roster.Member }
	// Suspect tells that observers lost a member.
	Suspect struct {
		Member roster.Member
		By     []string
	}
	// Down tells that a member is gone without a farewell.
	Down struct {
		Member roster.Member
		Reason messages.Reason
	}
	// Left tells that a member has left in order.
	Left struct{ Member roster.Member }
	// Updated tells that a member changed its record, or refuted a suspicion.
	Updated struct{ Old, New roster.Member }
	// Isolated tells that no link to any member is left; the contacts are being
	// called.
	Isolated struct{ Since time.Time }
	// Refused tells that a contact refused this node or could not be reached.
	Refused struct {
		Contact string
		Reason  messages.Reason
	}
	// Noted is what another part of the node put in the order of events, see
	// Service.Note.
	Noted struct{ Note any }
)

func (Snapshot) event() {}
func (Up) event()       {}
func (Suspect) event()  {}
func (Down) event()     {}
func (Left) event()     {}
func (Updated) event()  {}
func (Isolated) event() {}
func (Refused) event()  {}
func (Noted) event()    {}
