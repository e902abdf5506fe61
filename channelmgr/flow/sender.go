package flow

// InitialWindow is how many messages a sender may have on their way before
// the first Update: both ends know it.
const InitialWindow = 1 << 16

// AskEvery is how many messages a sender that wants them confirmed soon sends
// before it asks again while it waits for an answer. Our choice.
const AskEvery = 256

// Update is the report of a flow's receiver.
type Update struct {
	Next   uint64 // every lower number has arrived or is lost
	Credit uint64 // the highest number that may be sent
	Lost   uint64 // how many numbers were given up, ever
}

// Sender is the sending end of a flow. Its zero value is ready.
type Sender struct {
	taken     uint64 // numbers given out
	confirmed uint64 // numbers up to this are done with
	credit    uint64 // the highest number that may be sent; valid once heard
	lost      uint64 // as last reported, as far as it was accounted for
	asked     uint64 // the last number whose confirmation was asked for
	heard     bool   // an Update has come
}

// Take returns the next number, the first is 1. It does not look at the
// window: ask Open before.
func (s *Sender) Take() uint64 {
	s.taken++
	return s.taken
}

// Open reports whether the window admits another message.
func (s *Sender) Open() bool {
	if !s.heard {
		return s.taken < InitialWindow
	}
	return s.taken < s.credit
}

// Ask reports whether the number taken last should ask the receiver for an
// Update: one question is open at a time, or one more after AskEvery numbers.
// A sender that keeps what is not confirmed calls it after Take.
func (s *Sender) Ask() bool {
	if s.asked > s.confirmed && s.taken-s.asked < AskEvery {
		return false
	}
	s.asked = s.taken
	return true
}

// Next returns the number that Take will return.
func (s *Sender) Next() uint64 { return s.taken + 1 }

// Confirmed returns the lowest number that is not confirmed.
func (s *Sender) Confirmed() uint64 { return s.confirmed + 1 }

// Unconfirmed returns the range [from, to) of numbers taken and not confirmed.
func (s *Sender) Unconfirmed() (from, to uint64) { return s.confirmed + 1, s.taken + 1 }

// Update takes a report and returns how many numbers it confirms anew and how
// many of those it reports lost. The window is that of the last report: a
// receiver may close it again. A report that goes back in time or beyond what
// was sent is clamped: a peer's nonsense cannot open the window further than
// four fresh ones, nor confirm or lose what was never sent. A receiver that
// counts fewer losses than before has begun anew; its count is all news.
func (s *Sender) Update(u Update) (progress, lost uint64) {
	if next := min(u.Next, s.taken+1); next > s.confirmed+1 {
		progress = next - 1 - s.confirmed
		s.confirmed = next - 1
	}
	s.heard = true
	s.credit = min(u.Credit, s.confirmed+4*InitialWindow)
	if u.Lost < s.lost {
		s.lost = 0
	}
	// What is lost beyond what is confirmed is accounted for with a later report.
	lost = min(u.Lost-s.lost, progress)
	s.lost += lost
	return progress, lost
}

// Begin is called when another carrier takes over after one that died.
// Numbers from unwritten on are still queued and will travel on the new
// carrier; those between the last confirmed one and unwritten were written to
// the dead one. It returns what the Begin frame says.
func (s *Sender) Begin(unwritten uint64) (base, abandoned uint64) {
	base = min(max(unwritten, s.confirmed+1), s.taken+1)
	return base, base - 1 - s.confirmed
}

// Change is called when another carrier is to take over from one that lives.
// Numbers from unwritten on will travel on the new carrier. It returns the
// number of the End frame, which is the last on the old carrier, and the base
// of the Begin frame, which gives up nothing. ok is false while nothing is
// confirmed: a receiver that knows nothing of the flow takes the first Begin
// for its start, so the flow has to stay where it is.
func (s *Sender) Change(unwritten uint64) (end, base uint64, ok bool) {
	if s.confirmed == 0 {
		return 0, 0, false
	}
	base, _ = s.Begin(unwritten)
	return base - 1, base, true
}
