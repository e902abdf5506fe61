package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Merge returns a strategy that finds what any of s finds. Of a source that
// fails or answers in part, the last good candidates stay in; the snapshot is
// then partial and tells the error. It is also partial until every source has
// answered once. Sources are kept running (Keep).
func Merge(s ...Strategy) Strategy { return merged{s} }

type merged struct{ list []Strategy }

func (m merged) Validate() error { return validateAll("merge", m.list) }
func (m merged) String() string  { return describeAll("merge", m.list) }

func validateAll(what string, list []Strategy) error {
	var errs []error
	if len(list) == 0 {
		errs = append(errs, fmt.Errorf("discovery: %s of no strategy; name at least one", what))
	}
	for _, s := range list {
		errs = append(errs, Validate(s))
	}
	return errors.Join(errs...)
}

func describeAll(what string, list []Strategy) string {
	var names []string
	for _, s := range list {
		names = append(names, Describe(s))
	}
	return what + "(" + strings.Join(names, "; ") + ")"
}

// Run implements Strategy.
func (m merged) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	var mu sync.Mutex
	views := make([]view, len(m.list))
	var wg sync.WaitGroup
	for i, s := range m.list {
		wg.Go(func() {
			keep{s}.Run(ctx, func(got Snapshot) {
				mu.Lock()
				defer mu.Unlock()
				views[i].hear(got)
				emit(union(views))
			})
		})
	}
	wg.Wait()
	return nil
}

// view is what one source is known to have said.
type view struct {
	heard bool
	good  []Candidate // of the last whole answer, and what partial ones added since
	last  Snapshot    // the last answer as it came
}

func (v *view) hear(s Snapshot) {
	v.heard, v.last = true, s
	if s.OK() {
		v.good = s.Candidates
		return
	}
	known := make(map[string]bool, len(s.Candidates))
	good := append([]Candidate(nil), s.Candidates...)
	for _, c := range s.Candidates {
		known[c.Addr] = true
	}
	for _, c := range v.good {
		if !known[c.Addr] && len(good) < MaxCandidates {
			good = append(good, c)
		}
	}
	v.good = good
}

func union(views []view) Snapshot {
	var all []Candidate
	var errs []error
	partial := false
	for _, v := range views {
		all = append(all, v.good...)
		partial = partial || !v.heard || !v.last.OK()
		errs = append(errs, v.last.Err)
	}
	s := whole(all)
	s.Partial = s.Partial || partial
	s.Err = errors.Join(append(errs, s.Err)...)
	return s
}
