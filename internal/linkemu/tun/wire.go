//go:build linux

package tun

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/maquis-go/maquis/internal/linkemu"
)

// wire drives the line of one direction between two hosts.
type wire struct {
	n    *Network
	to   *os.File
	wake chan struct{} // something came to an empty line

	mu   sync.Mutex
	line *linkemu.Line
	late lateness
}

// put puts a packet on the line.
func (w *wire) put(b []byte, size int) {
	w.mu.Lock()
	_, busy := w.line.Due()
	ok := w.line.Put(w.n.now(), b, size)
	w.mu.Unlock()
	if !ok {
		recycle(b)
		return
	}
	if !busy {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// run writes packets when they are due. Nothing overtakes the first packet of a
// line, so that a sleep need not be interrupted.
func (w *wire) run() {
	defer w.n.wg.Done()
	urgent()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		due, ok := w.line.Due()
		w.mu.Unlock()
		if !ok {
			select {
			case <-w.wake:
				continue
			case <-w.n.closed:
				return
			}
		}
		if !w.sleep(due, timer) {
			return
		}
		w.mu.Lock()
		for {
			now := w.n.now()
			due, _ := w.line.Due()
			b, arrived, ok := w.line.Take(now)
			if !ok {
				break
			}
			w.late.add(now - due)
			w.mu.Unlock()
			if arrived {
				if _, err := w.to.Write(b); err != nil && !errors.Is(err, os.ErrClosed) {
					w.n.failed.Add(1)
				}
			}
			recycle(b)
			w.mu.Lock()
		}
		w.mu.Unlock()
	}
}

// urgent gives this goroutine a thread of its own, which goes before others: a
// link is not slow because the machine is busy. The thread ends with the
// goroutine.
func urgent() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // ns; 50 µs otherwise
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -15)
}

// coarse is how late the runtime's timers are at most, about: they are set in
// milliseconds.
const coarse = 2 * time.Millisecond

// sleep waits until a time of the network; false: it was closed. The last part
// is a sleep of the kernel's with an absolute time, which is exact to some 10 µs.
func (w *wire) sleep(until time.Duration, timer *time.Timer) bool {
	if d := until - w.n.now() - coarse; d > 0 {
		timer.Reset(d)
		select {
		case <-timer.C:
		case <-w.n.closed:
			return false
		}
	}
	ts := unix.NsecToTimespec(w.n.base + int64(until))
	for w.n.now() < until {
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil); err != nil && err != unix.EINTR {
			time.Sleep(until - w.n.now())
		}
	}
	select {
	case <-w.n.closed:
		return false
	default:
		return true
	}
}

// Sizes of the buffers in which packets wait.
const (
	smallBuffer = 2 << 10
	bigBuffer   = MaxMTU + 1 + vnetHeader
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	bigBuffers   = sync.Pool{New: func() any { return new([bigBuffer]byte) }}
)

// recycle takes a packet's buffer back.
func recycle(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case bigBuffer:
		bigBuffers.Put((*[bigBuffer]byte)(b[:bigBuffer]))
	}
}

// lateBucket is how exact a Lateness is; there are lateBuckets of them.
const (
	lateBucket  = 10 * time.Microsecond
	lateBuckets = 2000
)

// lateness counts by how late packets were.
type lateness struct {
	count [lateBuckets]uint64
	most  time.Duration
}

func (l *lateness) add(d time.Duration) {
	l.most = max(l.most, d)
	l.count[min(int(d/lateBucket), lateBuckets-1)]++
}

// Lateness is how much later than due packets were written to their hosts: half
// and 99 of 100 of them at most, to 10 µs, and the worst.
type Lateness struct{ P50, P99, Max time.Duration }

// Lateness returns that of all packets so far.
func (n *Network) Lateness() (l Lateness) {
	var all [lateBuckets]uint64
	var total uint64
	for _, row := range n.wires {
		for _, w := range row {
			if w == nil {
				continue
			}
			w.mu.Lock()
			for i, c := range w.late.count {
				all[i] += c
				total += c
			}
			l.Max = max(l.Max, w.late.most)
			w.mu.Unlock()
		}
	}
	var sum uint64
	for i, c := range all {
		before := sum
		sum += c
		at := time.Duration(i+1) * lateBucket
		if before*2 < total && sum*2 >= total {
			l.P50 = at
		}
		if before*100 < total*99 && sum*100 >= total*99 {
			l.P99 = at
		}
	}
	return l
}
