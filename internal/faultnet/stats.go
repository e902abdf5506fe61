//go:build linux

package faultnet

import (
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stats measures this process. It collects garbage first, so it is nothing for
// a busy loop.
func (n *node) stats() *Stats {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := &Stats{Goroutines: runtime.NumGoroutine() - n.faults.Goroutines(), Heap: m.HeapAlloc + m.StackInuse, Counters: n.Stats(), Neighbors: n.Health().Neighbors}
	s.Links = int(s.Counters["links"])
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.Files = len(fds) - 1 // that of the listing
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseUint(f[1], 10, 64)
			s.RSS = pages * uint64(os.Getpagesize())
		}
	}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		s.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	s.Calls = n.calls.counts()
	s.Broadcasts, s.Sent = n.heard.counts()
	return s
}

// goroutines are those of this process, as runtime/pprof counts them by stack.
func goroutines() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // never fails
	return b.String()
}
