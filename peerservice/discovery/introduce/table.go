package introduce

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// State is where a candidate stands.
type State string

// The states of candidates.
const (
	Untried     State = "new"         // not dialed yet
	Dialing     State = "dialing"     // a call is under way
	Failed      State = "failed"      // nobody answered; tried again
	Refused     State = "refused"     // somebody answered and refused us, or is none of ours; tried again rarely
	Answered    State = "answered"    // let us in, under an address that no member advertises
	IsMember    State = "member"      // the address is a member's
	HasLeft     State = "left"        // of one that left; tried again rarely
	Own         State = "own"         // our own address
	Terminating State = "terminating" // its source says that it ends
	Skipped     State = "skipped"     // no address to dial
)

// Times between dials while the node is alone, and while it has joined but
// lacks members. Our choice: ten a second, and one.
const (
	gapAlone   = 100 * time.Millisecond
	gapLacking = time.Second
)

// maxEntries bounds the candidates of all sources.
const maxEntries = 2 * discovery.MaxCandidates

// table is what is known of candidates and sources. It is pure: it has no
// clock, goroutine or lock; its driver serializes the calls. Fed by hear,
// members, pick and done; gone says who is to be pruned.
type table struct {
	cfg     Config
	rng     *rand.Rand
	own     map[string]bool
	entries map[string]*entry
	sources []*source

	byAddr   map[string]Member
	names    map[string]bool // of members
	others   int             // members but us
	dialing  int
	untried  int       // due candidates in state Untried, by the last call of due
	nextDial time.Time // not before, by the gap
	counts   Counts
}

// Counts are numbers since the start.
type Counts struct {
	Dialed, Accepted, Failed, Refused uint64 // calls of Join and how they ended
	Ignored                           uint64 // candidates beyond the bound
	Gone                              uint64 // reported to OnGone
}

type entry struct {
	discovery.Candidate
	named  map[int]bool      // by which sources now
	absent map[int]time.Time // since when a source that named it does not
	state  State
	reason string // a word
	err    string
	tries  int // since it last answered
	last   time.Time
	next   time.Time // to be dialed not before
}

type source struct {
	name            string
	heard           bool
	last            discovery.Snapshot // without candidates
	count           int                // candidates in the last answer
	found           bool               // an answer with candidates was heard
	at, okAt        time.Time
	answers, errors uint64
	partials        uint64
	dialed          uint64
	accepted        uint64
	reasons         map[string]uint64
}

func newTable(cfg Config, rng *rand.Rand) *table {
	t := &table{cfg: cfg.withDefaults(), rng: rng, own: map[string]bool{}, entries: map[string]*entry{}}
	for _, a := range cfg.Self.Addrs {
		t.own[a] = true
	}
	for _, s := range cfg.Strategies {
		t.sources = append(t.sources, &source{name: discovery.Describe(s)})
	}
	return t
}

// hear takes what source i says.
func (t *table) hear(now time.Time, i int, s discovery.Snapshot) {
	src := t.sources[i]
	src.heard, src.at, src.count = true, now, len(s.Candidates)
	src.last = discovery.Snapshot{Partial: s.Partial, Err: s.Err}
	src.answers++
	switch {
	case s.Err != nil:
		src.errors++
	case s.Partial:
		src.partials++
	}
	// An empty answer after one that was not is the sign of a sick source at
	// least as often as of an empty cluster.
	emptied := len(s.Candidates) == 0 && src.found && t.cfg.Prune != PruneImmediately
	if s.OK() {
		src.okAt = now
	}
	src.found = src.found || len(s.Candidates) > 0
	named := make(map[string]bool, len(s.Candidates))
	for _, c := range s.Candidates {
		if !named[c.Addr] {
			named[c.Addr] = true
			t.name(i, c)
		}
	}
	if !s.OK() || emptied {
		return
	}
	for addr, e := range t.entries {
		if !named[addr] && e.named[i] {
			delete(e.named, i)
			e.absent[i] = now
		}
	}
}

// name notes that source i names c.
func (t *table) name(i int, c discovery.Candidate) {
	e := t.entries[c.Addr]
	if e == nil {
		if len(t.entries) >= maxEntries {
			t.counts.Ignored++
			return
		}
		e = &entry{named: map[int]bool{}, absent: map[int]time.Time{}, state: Untried}
		t.entries[c.Addr] = e
	}
	if e.Terminating && !c.Terminating { // another one has the address
		e.next, e.tries = time.Time{}, 0
	}
	e.Candidate = c
	e.named[i] = true
	delete(e.absent, i)
	t.classify(e)
}

// classify finds the state of a candidate, where that does not come from a
// call.
func (t *table) classify(e *entry) {
	m, known := t.byAddr[e.Addr]
	switch why := Undialable(e.Addr); {
	case t.own[e.Addr]:
		e.state, e.reason, e.err = Own, "self", ""
	case e.state == Dialing:
	case known && !m.Left:
		e.state, e.reason, e.err, e.tries = IsMember, "", "", 0
	case e.Terminating:
		e.state, e.reason, e.err = Terminating, "", ""
	case why != "":
		e.state, e.reason, e.err = Skipped, "address", why
	case known && (e.state == IsMember || e.state == Untried):
		e.state, e.next = HasLeft, time.Time{} // members says when to dial
	case e.state == IsMember || e.state == Terminating:
		e.state, e.next = Untried, time.Time{}
	}
}

// members takes the member list.
func (t *table) members(now time.Time, list []Member) {
	had := t.others
	t.byAddr, t.names, t.others = make(map[string]Member, len(list)), make(map[string]bool, len(list)), 0
	for _, m := range list {
		if !m.Left && m.Name != t.cfg.Self.Name {
			t.others++
			t.names[m.Name] = true
		}
		for _, a := range m.Addrs {
			if old, twice := t.byAddr[a]; !twice || old.Left {
				t.byAddr[a] = m
			}
		}
	}
	for _, e := range t.entries {
		t.classify(e)
		if e.state == HasLeft && e.next.IsZero() {
			e.next = now.Add(t.jitter(t.cfg.RefusedMin))
		}
		if e.state == Answered && t.others == 0 && had > 0 {
			e.next = time.Time{} // we are alone again
		}
	}
}

// calm reports whether the node has joined and the cluster is complete.
func (t *table) calm() bool { return t.others > 0 && t.others+1 >= t.cfg.Expected }

// pick returns the candidate to dial now, if any, and when to ask again if
// nothing else happens; never, if that is zero.
func (t *table) pick(now time.Time) (dial string, again time.Time) {
	due, first := t.due(now)
	gap, most := gapAlone, t.cfg.Dials
	if t.calm() {
		gap, most = t.cfg.Merge, 1
	} else if t.others > 0 || t.untried == 0 {
		gap = gapLacking
	}
	if latest := now.Add(gap * 5 / 4); t.nextDial.After(latest) {
		t.nextDial = latest // the last gap was that of a calm node
	}
	switch {
	case t.dialing >= most:
		return "", time.Time{} // done asks again
	case len(due) == 0:
		return "", later(first, t.nextDial)
	case t.nextDial.After(now):
		return "", t.nextDial
	}
	e := due[t.rng.IntN(len(due))]
	e.state, e.last = Dialing, now
	t.dialing++
	t.counts.Dialed++
	for i := range e.named {
		t.sources[i].dialed++
	}
	t.nextDial = now.Add(t.jitter(gap))
	return e.Addr, t.nextDial
}

// later of two times, if there is a first.
func later(a, b time.Time) time.Time {
	if a.IsZero() || a.After(b) {
		return a
	}
	return b
}

// due returns the candidates that may be dialed, in order of address, and
// when the next one may be if none is. Those never tried come first; those with
// the name of a member last: they are other addresses of it, mostly.
func (t *table) due(now time.Time) (due []*entry, first time.Time) {
	var ranks [3][]*entry
	for _, e := range t.entries {
		switch e.state {
		case Untried, Failed, Refused, Answered, HasLeft:
		default:
			continue
		}
		switch {
		case len(e.named) == 0:
		case e.next.After(now):
			if first.IsZero() || e.next.Before(first) {
				first = e.next
			}
		case t.names[e.Name]:
			ranks[2] = append(ranks[2], e)
		case e.state == Untried:
			ranks[0] = append(ranks[0], e)
		default:
			ranks[1] = append(ranks[1], e)
		}
	}
	t.untried = len(ranks[0])
	for _, due = range ranks {
		if len(due) > 0 {
			break
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return strings.Compare(a.Addr, b.Addr) }) // chance is the generator's alone
	return due, first
}

// done takes how a call ended: reason is a word, err nil if we were let in.
func (t *table) done(now time.Time, addr, reason string, err error) {
	e := t.entries[addr]
	if e == nil || e.state != Dialing {
		return
	}
	t.dialing--
	e.reason, e.err = "", ""
	for i := range e.named {
		t.sources[i].ended(reason, err)
	}
	if err == nil {
		t.counts.Accepted++
		e.state, e.tries, e.next = Answered, 0, now.Add(t.jitter(t.cfg.RefusedMax))
		t.classify(e)
		return
	}
	e.reason, e.err = reason, err.Error()
	first, last := t.cfg.RetryMin, t.cfg.RetryMax
	if verdictOf(reason) == stranger {
		t.counts.Refused++
		e.state, first, last = Refused, t.cfg.RefusedMin, t.cfg.RefusedMax
	} else {
		t.counts.Failed++
		e.state = Failed
	}
	wait := first << min(e.tries, 20)
	if wait > last || wait < first {
		wait = last
	}
	e.tries++
	e.next = now.Add(t.jitter(wait))
	t.classify(e)
}

// ended counts a call of a candidate that the source names.
func (s *source) ended(reason string, err error) {
	if err == nil {
		s.accepted++
		return
	}
	if s.reasons == nil {
		s.reasons = make(map[string]uint64)
	}
	if _, known := words[reason]; !known { // of the application's Join: not to be trusted with memory
		reason = "error"
	}
	s.reasons[reason]++
}

// gone forgets candidates that no source names any more, and returns those of
// them that are members and to be pruned. They are forgotten when the policy
// has nothing more to say of them.
func (t *table) gone(now time.Time) (list []Gone) {
	for addr, e := range t.entries {
		if len(e.named) > 0 || e.state == Dialing {
			continue
		}
		var since time.Time // the last of its sources named it no more
		for _, at := range e.absent {
			if at.After(since) {
				since = at
			}
		}
		m, is := t.byAddr[addr]
		prune := t.cfg.Prune.on && is && !m.Left && !t.own[addr]
		if prune && now.Sub(since) < t.cfg.Prune.after {
			continue
		}
		if prune {
			list = append(list, Gone{Addr: addr, Node: m.Name, Absent: now.Sub(since)})
			t.counts.Gone++
		}
		delete(t.entries, addr)
	}
	slices.SortFunc(list, func(a, b Gone) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}

func (t *table) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(t.rng.Int64N(int64(d/2)+1))
}
