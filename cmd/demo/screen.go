package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// screen shows how a run goes: with a bar on a terminal, in plain lines
// elsewhere. With --json it writes to standard error, so that standard output
// holds nothing but the result.
type screen struct {
	w     io.Writer
	bar   bool
	drawn bool
	last  int
}

func newScreen(out, errw io.Writer, json bool) *screen {
	s := &screen{w: out, last: -1}
	if json {
		s.w = errw
	}
	if f, ok := s.w.(*os.File); ok {
		info, err := f.Stat()
		s.bar = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

func (s *screen) clear() {
	if s.drawn {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) end() { s.clear() }

func (s *screen) say(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

const barWidth = 40

func (s *screen) progress(p progress) {
	if p.chunks == 0 {
		return
	}
	percent := p.done * 100 / p.chunks
	switch {
	case s.bar:
		s.draw(percent, fmt.Sprintf("%d/%d chunks", p.done, p.chunks))
	case percent/25 > s.last/25 || s.last < 0:
		fmt.Fprintf(s.w, "%3d%%  %d of %d chunks\n", percent, p.done, p.chunks)
	}
	s.last = percent
}

func (s *screen) draw(percent int, text string) {
	s.clear()
	full := percent * barWidth / 100
	fmt.Fprintf(s.w, "[%s%s] %3d%%  %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), percent, text)
	s.drawn = true
}

// part shows how much of a simulation is done, on a terminal only.
func (s *screen) part(done, total int) {
	if percent := min(done*100/max(total, 1), 100); s.bar && percent != s.last {
		s.draw(percent, "")
		s.last = percent
	}
}

func (s *screen) summary(r result, counts map[string]uint64, work map[string]int) {
	s.clear()
	fmt.Fprintf(s.w, "\n%d words, %d distinct, in %.1f MB; %d chunks\n", r.Words, r.Distinct, float64(r.InputBytes)/1e6, r.Chunks)
	for _, w := range top(counts, 8) {
		fmt.Fprintf(s.w, "  %9d %s\n", counts[w], w)
	}
	for _, n := range slices.Sorted(maps.Keys(work)) {
		fmt.Fprintf(s.w, "  %-12s counted %d chunks\n", n, work[n])
	}
	if r.Killed > 0 {
		fmt.Fprintf(s.w, "%d workers killed, %d actors reported Terminated, %d chunks done again by others\n", r.Killed, r.Terminated, r.Redispatched)
	}
	verdict := "matches the count of a single process"
	if !r.Match {
		verdict = "DOES NOT MATCH the count of a single process"
	}
	fmt.Fprintf(s.w, "the sum %s (%.1f s)\n", verdict, r.ElapsedS)
}
