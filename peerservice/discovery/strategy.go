package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// DefaultPort is the port of a candidate whose source names none: 6278.
const DefaultPort = 6278

// MaxCandidates bounds a snapshot. A source that names more is cut there and
// its answer is partial.
const MaxCandidates = 16384

// Strategy finds candidates.
//
// Run asks its source until ctx ends and then returns nil. It emits the whole
// answer each time, not differences; calls of emit do not overlap, and emit
// does not block. What goes wrong on the way is emitted as Snapshot.Err and
// tried again, with back-off; Run returns an error before ctx ends only where
// trying again cannot help, as with an invalid option. A Strategy holds no
// state between runs and may run several times at once.
//
// Strategies of this package have a method Validate and a method String, which
// names source and options without secrets. A strategy of your own needs
// neither.
type Strategy interface {
	Run(ctx context.Context, emit func(Snapshot)) error
}

// Snapshot is what a source says at one time. Its slice must not be changed by
// whom it is emitted to.
type Snapshot struct {
	Candidates []Candidate
	Partial    bool  // some are known to be missing: take nothing away
	Err        error // the source did not answer, or not well: take nothing away
}

// Candidate is an address at which a node may be.
type Candidate struct {
	Addr        string // "host:port", the host a name or an IP address
	Name        string // of the node, where the source knows it; not to be relied on
	Zone        string // where the node is, where the source knows it
	Terminating bool   // about to end: may be known, is not to be dialed
}

// OK reports whether the snapshot is a whole answer, on which something may be
// pruned.
func (s Snapshot) OK() bool { return !s.Partial && s.Err == nil }

// Validate reports what is wrong with the options of s. It is nil for a
// strategy that cannot tell.
func Validate(s Strategy) error {
	if s == nil {
		return errors.New("discovery: the strategy is nil")
	}
	if v, ok := s.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// Describe names a strategy for logs and explanations.
func Describe(s Strategy) string {
	if n, ok := s.(fmt.Stringer); ok {
		return n.String()
	}
	return fmt.Sprintf("%T", s)
}

// whole turns what a source named into a snapshot: without duplicates, in the
// source's order, within MaxCandidates.
func whole(list []Candidate) Snapshot {
	var s Snapshot
	at := make(map[string]int, len(list))
	for _, c := range list {
		if i, twice := at[c.Addr]; twice {
			// An address may have passed from one that ends to another.
			s.Candidates[i].Terminating = s.Candidates[i].Terminating && c.Terminating
			continue
		}
		if len(s.Candidates) == MaxCandidates {
			s.Partial = true
			s.Err = fmt.Errorf("discovery: the source names more than %d candidates; the rest is ignored", MaxCandidates)
			break
		}
		at[c.Addr] = len(s.Candidates)
		s.Candidates = append(s.Candidates, c)
	}
	return s
}

// failed is the snapshot of a source that did not answer.
func failed(err error) Snapshot { return Snapshot{Err: err} }

// serial keeps the calls of emit by several goroutines apart.
func serial(emit func(Snapshot)) func(Snapshot) {
	var mu sync.Mutex
	return func(s Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		emit(s)
	}
}
