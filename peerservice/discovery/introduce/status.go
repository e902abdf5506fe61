package introduce

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Status is what the introducer knows, as a table for people and machines.
type Status struct {
	At         time.Time
	Members    int  // others than this node
	Calm       bool // joined, and complete: sources and candidates are asked rarely
	Sources    []SourceStatus
	Candidates []CandidateStatus // by address
	Counts     Counts
}

// SourceStatus is what is known of a strategy.
type SourceStatus struct {
	Name       string
	Answers    uint64 // since the start; of them with an error, and known to be not all
	Errors     uint64
	Partials   uint64
	Dialed     uint64 // calls of candidates that it named
	Accepted   uint64
	Reasons    map[string]uint64 // of those that failed or were refused, by reason; nil if there are none
	At, OKAt   time.Time         // of the last answer, and the last whole one; zero if there was none
	Candidates int               // in the last answer
	Partial    bool
	Err        string // of the last answer
}

// CandidateStatus is what is known of a candidate.
type CandidateStatus struct {
	Addr, Name, Zone string
	Sources          []string
	State            State
	Reason           string // a word, of the last attempt
	Err              string
	Tries            int       // that failed, since the last that did not
	Last, Next       time.Time // attempts; zero if there is none
}

func (t *table) status(now time.Time) Status {
	s := Status{At: now, Members: t.others, Calm: t.calm(), Counts: t.counts}
	for _, src := range t.sources {
		out := SourceStatus{Name: src.name, Answers: src.answers, Errors: src.errors, Partials: src.partials,
			Dialed: src.dialed, Accepted: src.accepted, Reasons: maps.Clone(src.reasons), At: src.at, OKAt: src.okAt, Candidates: src.count, Partial: src.last.Partial}
		if src.last.Err != nil {
			out.Err = src.last.Err.Error()
		}
		s.Sources = append(s.Sources, out)
	}
	for _, e := range t.entries {
		c := CandidateStatus{Addr: e.Addr, Name: e.Name, Zone: e.Zone, State: e.state, Reason: e.reason, Err: e.err, Tries: e.tries, Last: e.last, Next: e.next}
		for i, src := range t.sources {
			if e.named[i] {
				c.Sources = append(c.Sources, src.name)
			}
		}
		s.Candidates = append(s.Candidates, c)
	}
	slices.SortFunc(s.Candidates, func(a, b CandidateStatus) int { return strings.Compare(a.Addr, b.Addr) })
	return s
}

// String explains: what each source says, where each candidate stands and
// why, and what can be done about it.
func (s Status) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%d other members; %d candidates\n", s.Members, len(s.Candidates))
	for _, src := range s.Sources {
		fmt.Fprintf(w, "source\t%s\t%s\n", src.Name, src.explain(s.At))
	}
	seen := map[string]bool{}
	var advice []string
	for _, c := range s.Candidates {
		fmt.Fprintf(w, "candidate\t%s\t%s\n", c.Addr, c.explain(s.At))
		if r := Remedy(c.Reason); r != "" && !seen[c.Reason] && c.State != Own {
			seen[c.Reason] = true
			advice = append(advice, c.Reason+": "+r)
		}
	}
	w.Flush()
	for _, a := range advice {
		b.WriteString(a + "\n")
	}
	if len(s.Candidates) == 0 {
		b.WriteString("no source has named a candidate yet\n")
	}
	return b.String()
}

func (src SourceStatus) explain(now time.Time) string {
	switch {
	case src.Answers == 0:
		return "has not answered yet"
	case src.Err != "":
		return fmt.Sprintf("%s ago: %s", ago(now, src.At), firstLine(src.Err))
	case src.Partial:
		return fmt.Sprintf("%s ago: %d candidates, not all", ago(now, src.At), src.Candidates)
	}
	return fmt.Sprintf("%s ago: %d candidates", ago(now, src.At), src.Candidates)
}

func (c CandidateStatus) explain(now time.Time) string {
	text := string(c.State)
	if c.Reason != "" && c.State != Own {
		text += " (" + c.Reason + ")"
	}
	if c.Name != "" {
		text += ", named " + c.Name
	}
	if c.Err != "" {
		text += ": " + firstLine(c.Err)
	}
	if (c.State == Failed || c.State == Refused) && c.Next.After(now) {
		text += fmt.Sprintf("; %d tries, next in %v", c.Tries, c.Next.Sub(now).Round(time.Second))
	}
	return text
}

func ago(now, at time.Time) string { return now.Sub(at).Round(100 * time.Millisecond).String() }

// firstLine shortens what may be a stack or a page.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
