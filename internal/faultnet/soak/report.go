//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/maquis-go/maquis/internal/faultnet"
)

// Report is what a run has found.
type Report struct {
	Commit     string
	Processes  int
	Overlay    string
	Seed       uint64
	Seconds    float64
	Faults     map[string]int
	Messages   faultnet.Accounts
	Calls      map[string]uint64 // by outcome
	Broadcasts uint64
	Events     map[string]int
	Recoveries []float64 // seconds from the last fault of a round until all know all
	Fits       []Fit
	Violations []string
}

func (r *Report) violate(format string, args ...any) {
	r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
	fmt.Fprintln(os.Stderr, "BROKEN:", r.Violations[len(r.Violations)-1])
}

// save writes the files that are named.
func (r *Report) save(jsonFile, markdown string) error {
	if jsonFile != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if markdown != "" {
		return os.WriteFile(markdown, []byte(r.markdown()), 0o644)
	}
	return nil
}

func list[V any](m map[string]V) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Soak\n\n`make soak` at commit %s, %s, %d processors, other work beside it. Generated: do not edit.\n\n", r.Commit, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(&b, "%d processes on %s for %.0f s, seed %d. Verdict: ", r.Processes, r.Overlay, r.Seconds, r.Seed)
	if len(r.Violations) == 0 {
		b.WriteString("**every promise was kept**.\n\n")
	} else {
		fmt.Fprintf(&b, "**%d promises were broken**:\n\n", len(r.Violations))
		for _, v := range r.Violations {
			fmt.Fprintf(&b, "- %s\n", v)
		}
		b.WriteString("\n")
	}
	m := r.Messages
	fmt.Fprintf(&b, "| what | seen |\n|---|---|\n")
	fmt.Fprintf(&b, "| faults | %s |\n", list(r.Faults))
	fmt.Fprintf(&b, "| lives of nodes | %d |\n", m.Lives)
	fmt.Fprintf(&b, "| ordered messages sent | %d |\n", m.Sent)
	fmt.Fprintf(&b, "| delivered, once and in order | %d |\n", m.Delivered)
	fmt.Fprintf(&b, "| told to be undelivered | %d |\n", m.Undelivered)
	fmt.Fprintf(&b, "| missing, within the %d that were told to be possibly lost | %d |\n", m.PossiblyLost, m.Missing)
	fmt.Fprintf(&b, "| of senders that were killed, with what they would have told | %d |\n", m.Unaudited)
	fmt.Fprintf(&b, "| twice, out of order | %d, %d |\n", m.Duplicates, m.Disorder)
	fmt.Fprintf(&b, "| requests | %s |\n", list(r.Calls))
	fmt.Fprintf(&b, "| broadcasts, of nodes as last seen | %d |\n", r.Broadcasts)
	fmt.Fprintf(&b, "| events at all nodes | %s |\n", list(r.Events))
	if len(r.Recoveries) > 0 {
		fmt.Fprintf(&b, "| after the last fault of a round: all know all within | %.1f s at most, of %d rounds |\n", slices.Max(r.Recoveries), len(r.Recoveries))
	}
	b.WriteString("\nA line through the means of each minute, for the heap also through the least, of the processes that were not killed, after a fifth of the time:\n\n| process | what | minutes | mean | in ten minutes | error | |\n|---|---|--:|--:|--:|--:|---|\n")
	for _, f := range r.Fits {
		verdict := "flat"
		switch {
		case f.TooShort:
			verdict = "too short to say"
		case f.Grows:
			verdict = "**grows**"
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %.0f | %+.1f | ±%.1f | %s |\n", f.Process, f.What, f.Samples, f.Mean, f.Per10Min, f.Error, verdict)
	}
	return b.String()
}
