//go:build linux

package faultnet

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// figure is a line of the table of results.
type figure struct {
	id, what, bed, seen, bound string
	reached                    bool
}

// recorder collects the figures of all tests.
type recorder struct {
	mu   sync.Mutex
	list []figure
}

var results recorder

// took records how long something took. A bound of 0 is none.
func (w *world) took(id, what string, seen, bound time.Duration) {
	limit := "–"
	if bound > 0 {
		limit = "≤ " + bound.String()
	}
	w.figure(id, what, seen.Round(10*time.Millisecond).String(), limit, bound == 0 || seen <= bound)
}

// counted records a number that shall be at most bound.
func (w *world) counted(id, what string, seen, bound int) {
	w.figure(id, what, fmt.Sprint(seen), fmt.Sprint("≤ ", bound), seen <= bound)
}

func (w *world) figure(id, what, seen, bound string, reached bool) {
	w.t.Helper()
	w.t.Logf("%s: %s: %s (%s)", id, what, seen, bound)
	results.mu.Lock()
	defer results.mu.Unlock()
	results.list = append(results.list, figure{id, what, w.bed.Name(), seen, bound, reached})
}

// write writes the table, if a file is named.
func (r *recorder) write(file, commit string) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Faults on real processes\n\n`make faults` at commit %s, %s, %d processors, other work beside it. Generated: do not edit.\n\n", commit, runtime.Version(), runtime.NumCPU())
	b.WriteString("Each node is a process of its own with TLS. In the *namespace* the kernel drops packets and resets sockets; the *wrapper* is `transport.Faults` around the same connections; *links* are emulated ones between nodes in namespaces of their own.\n")
	b.WriteString("Each scenario also asserts what must hold: no message twice, none out of order, each one that is missing told; one `Terminated` for each watch; rosters exact at its end.\n\n")
	b.WriteString("| | what | bed | seen | bound | |\n|---|---|---|--:|--:|---|\n")
	for _, f := range r.list {
		verdict := "reached"
		switch {
		case f.bound == "–":
			verdict = ""
		case !f.reached:
			verdict = "**missed**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.id, f.what, f.bed, f.seen, f.bound, verdict)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// The table says what was reached and what was missed.
func TestResults(t *testing.T) {
	r := recorder{list: []figure{{"R0", "nothing", "wrapper", "1s", "≤ 2s", true}, {"R0", "more", "wrapper", "3s", "≤ 2s", false}, {"R0", "no bound", "wrapper", "3", "–", true}}}
	file := t.TempDir() + "/out.md"
	if err := r.write(file, "abc"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"commit abc", "| R0 | nothing | wrapper | 1s | ≤ 2s | reached |", "| ≤ 2s | **missed** |", "| – |  |"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is missing in\n%s", want, b)
		}
	}
}
