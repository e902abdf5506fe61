package main

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
)

// report is what was seen, as a page.
type report struct {
	strings.Builder
	done     []cell
	verdicts []string
}

func (r *report) find(want cell) (cell, bool) {
	for _, c := range r.done {
		if c.name() == want.name() {
			return c, true
		}
	}
	return cell{}, false
}

func (r *report) f(format string, args ...any) { fmt.Fprintf(r, format, args...) }

// tables writes what was seen.
func tables(done []cell, commit string) string {
	r := &report{done: done}
	r.f("# Channels under load\n\nWritten by `make bench-channels` at commit %s, %s on %s/%s, %d cores. Not edited by hand; remarks are in [README.md](README.md#channels).\n\n",
		commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if load := loads(done); load > 0 {
		r.f("The machine was not alone: its load was up to %.0f while the cells ran, so that absolute figures are below what it does when quiet.\n\n", load)
	}
	r.link()
	r.matrix()
	r.windows()
	r.beside()
	r.packed()
	r.kvs()
	r.modes()
	r.f("\n## Targets\n\n| target | seen | |\n|---|--:|---|\n%s", strings.Join(r.verdicts, ""))
	return r.String()
}

// link says what lies between the nodes.
func (r *report) link() {
	r.f("Each node is a process of its own; both, and the process of the link, share the cores. Ours runs with TLS, protoactor's remote without, as it comes but for its limit of 4 MiB on a message and batches that fit in one.\n\n")
	for _, c := range r.done {
		switch {
		case c.Kind == "modes" || c.Kind == "window":
			continue
		case c.Link.Kind == "proxy":
			r.f("Link: a proxy of TCP on loopback. Bytes arrive half a round trip after they were sent; a connection has at most %d KiB on their way, each for one round trip.\n\n", window>>10)
			return
		}
		late := 0.0
		for _, x := range r.done {
			late = max(late, x.Link.LateP50)
		}
		r.f("Link: network namespaces and TUN devices (`internal/linkemu`), with the TCP of Linux %s over packets of 1,500 bytes, of which up to 64 KiB are handed over at once. Congestion control %s, `tcp_rmem` %s, `tcp_wmem` %s. ",
			strings.TrimSpace(c.Link.Kernel), c.Link.CC, c.Link.Rmem, c.Link.Wmem)
		r.f("Without a rate the line's buffer drops nothing. Half of the packets came at most %.0f µs later than due.\n\n", late)
		break
	}
	if c, ok := r.find(cell{Kind: "matrix", Stack: "16 lanes", Size: 512 << 10, RTT: 20 * time.Millisecond, Actors: 128}); ok && len(c.Sockets) > 0 {
		r.f("Sockets of ours after 512 KiB, 20 ms, 128 actors, the busiest and the median of those of bulk: ")
		var bulk []socket
		for _, s := range c.Sockets {
			if s.Sent > 1<<20 {
				bulk = append(bulk, s)
			}
		}
		for i, s := range []socket{bulk[0], bulk[len(bulk)/2]} {
			if i > 0 {
				r.f("; ")
			}
			r.f("%s, SO_SNDBUF %d KiB, SO_RCVBUF %d KiB, window %d segments of %d bytes, %v round trip of %v at least, %d segments sent again", s.CC, s.SndBuf>>10, s.RcvBuf>>10, s.Cwnd, s.MSS, s.RTT.Round(100*time.Microsecond), s.MinRTT.Round(100*time.Microsecond), s.Again)
		}
		r.f(".\n\n")
	}
}

// trio are the three stacks of one row.
func (r *report) trio(want cell) (pa, one, many cell, ok bool) {
	var ok1, ok2, ok3 bool
	want.Stack = "protoactor"
	pa, ok1 = r.find(want)
	want.Stack = "default"
	one, ok2 = r.find(want)
	want.Stack = "16 lanes"
	many, ok3 = r.find(want)
	return pa, one, many, ok1 && ok2 && ok3
}

const rowHead = "| message | round trip | actors | protoactor | ours, default | | ours, 16 lanes | | p50 of that, ms | processors: link, server, client |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"

func (r *report) row(pa, one, many cell) {
	r.f("| %s | %v | %d | %.1f | %.1f | %s | %.1f | %s | %.1f | %s |\n", size(pa.Size), pa.RTT, pa.Actors, pa.PerS, one.PerS, times(one, pa), many.PerS, times(many, pa), many.P50, processors(many))
}

// processors are how many each process used.
func processors(c cell) string {
	var list []string
	for _, x := range c.CPU {
		list = append(list, fmt.Sprintf("%.2f", x))
	}
	return strings.Join(list, ", ")
}

func (r *report) verdict(what string, reached bool, seen string) {
	r.verdicts = append(r.verdicts, verdict(what, reached, seen))
}

func (r *report) matrix() {
	r.f("## Messages of many actors\n\nEach actor sends a message to one of its own on the other node, waits for a short answer, and so on, over a line without a rate. Messages a second, and as a multiple of protoactor's.\n\n" + rowHead)
	worst, worstMany := math.Inf(1), math.Inf(1)
	for _, sz := range sizes {
		for _, rtt := range rtts {
			for _, n := range actors {
				pa, one, many, ok := r.trio(cell{Kind: "matrix", Size: sz, RTT: rtt, Actors: n})
				if !ok {
					continue
				}
				r.row(pa, one, many)
				worst, worstMany = min(worst, ratio(one, pa)), min(worstMany, ratio(many, pa))
			}
		}
	}
	if !math.IsInf(worst, 1) {
		r.verdict("no cell of the default below protoactor's", worst >= 1, fmt.Sprintf("the lowest is %.2f", worst))
		r.verdict("no cell of 16 lanes below protoactor's", worstMany >= 1, fmt.Sprintf("the lowest is %.2f", worstMany))
	}
}

func (r *report) windows() {
	r.f("\n## With windows of %d KiB\n\nAs above, with the kernel's buffers so small that a connection has about that much on its way, which is what the paper's figures of one connection come to (a kernel that finds its windows itself is above).\n\n"+rowHead, window>>10)
	for _, sz := range sizes {
		for _, n := range []int{16, 128} {
			pa, one, many, ok := r.trio(cell{Kind: "window", Size: sz, RTT: 20 * time.Millisecond, Actors: n})
			if !ok {
				continue
			}
			r.row(pa, one, many)
			x := ratio(many, pa)
			switch {
			case sz == 512<<10 && n == 128:
				r.verdict("512 KiB, 20 ms, 128 actors, windows of 512 KiB: 16 lanes at least 13 times protoactor's", x >= 13, times(many, pa))
			case sz == 8<<20 && n == 16:
				r.verdict("8 MiB, 20 ms, 16 actors, windows of 512 KiB: 16 lanes at least 30 times protoactor's", x >= 30, times(many, pa))
			}
		}
	}
}

func (r *report) beside() {
	r.f("\n## Control under load\n\n64 B there and back while 16 actors send 8 MiB each without a pause, on a line of 1 Gbit/s each way. Ours on a channel of high priority beside bulk on one with one lane or the default's four; protoactor's remote has one stream for both. With *short queues* (`WithShortQueues`) bulk leaves the queue of the line short. " +
		"*Bare* is a byte there and back over a TCP connection of the link's own process at the same time: what the line's buffer and the kernel alone cost. *Heartbeat* is what our control link measures itself. Times in ms.\n\n" +
		"| round trip | buffer of the line | bulk on | bulk, MB/s | bare p50 | p99 | control p50 | p99 | round trips | heartbeat p50 | p99 | of | suspicions | processors: link, server, client |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	suspicions, seen := 0, false
	for _, rtt := range rtts {
		for _, buffer := range buffers {
			for _, b := range besides {
				on := b.on
				want := cell{Kind: "beside", Stack: "urgent", On: on, Short: b.short, Size: 64, RTT: rtt, Buffer: buffer}
				if on == "protoactor" {
					want.Stack = on
				}
				c, ok := r.find(want)
				if !ok {
					continue
				}
				if b.short {
					on += ", short queues"
				}
				beats := fmt.Sprintf("%.2f | %.2f | %d | %d", c.BeatP50, c.BeatP99, c.Beats, c.Suspicions)
				if on == "protoactor" {
					beats = "| | | "
				}
				r.f("| %v | %d kB | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %d | %s | %s |\n", rtt, buffer/1000, on, c.Bulks/1e6, c.BareP50, c.BareP99, c.P50, c.P99, c.Count, beats, processors(c))
				if on == "protoactor" {
					continue
				}
				suspicions, seen = suspicions+c.Suspicions, true
				if buffer == buffers[0] {
					bound := float64(rtt)/1e6 + 5
					r.verdict(fmt.Sprintf("64 B beside 8 MiB on %s at %v, buffer of %d kB: p99 at most %.0f ms (bare: %.2f ms)", on, rtt, buffer/1000, bound, c.BareP99), c.P99 <= bound, fmt.Sprintf("%.2f ms", c.P99))
					r.verdict(fmt.Sprintf("heartbeats beside the same: p99 at most %.0f ms", bound), c.BeatP99 <= bound, fmt.Sprintf("%.2f ms", c.BeatP99))
				}
			}
		}
	}
	if seen {
		r.verdict("no false suspicion meanwhile", suspicions == 0, fmt.Sprint(suspicions))
	}
}

func (r *report) packed() {
	plain, ok1 := r.find(cell{Kind: "packed", Stack: "data", Size: 1024, RTT: time.Millisecond})
	packed, ok2 := r.find(cell{Kind: "packed", Stack: "s2", Size: 1024, RTT: time.Millisecond})
	if !ok1 || !ok2 {
		return
	}
	r.f("\n## Compression\n\nText of 1 KiB one way on a line of 1 Gbit/s and 1 ms, messages a second.\n\n| none | s2 | |\n|--:|--:|--:|\n")
	r.f("| %.0f | %.0f | %s |\n", plain.PerS, packed.PerS, times(packed, plain))
	r.verdict("s2 at least 1.5 times as many", ratio(packed, plain) >= 1.5, times(packed, plain))
}

func (r *report) kvs() {
	r.f("\n## A key-value store on three nodes\n\nAfter the paper's: %d actors on each node read (ten times as often as they write) values of %d replicas and wait for %d; keys are from a normal distribution, a storage of %d partitions takes %v. Operations a second of all nodes.\n\n"+
		"| value | round trip | protoactor | ours, default | | ours, 16 lanes | | p50 of default, ms | processors with it: link, nodes |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n", kvsActors, 3, quorum, partitions, storage)
	worst := math.Inf(1)
	for _, sz := range sizes {
		for _, rtt := range rtts {
			pa, c, many, ok := r.trio(cell{Kind: "kvs", Size: sz, RTT: rtt, Actors: kvsActors})
			if !ok {
				continue
			}
			r.f("| %s | %v | %.1f | %.1f | %s | %.1f | %s | %.1f | %s |\n", size(sz), rtt, pa.PerS, c.PerS, times(c, pa), many.PerS, times(many, pa), c.P50, processors(c))
			worst = min(worst, ratio(c, pa))
		}
	}
	if !math.IsInf(worst, 1) {
		r.verdict("key-value store: no cell of the default below protoactor's", worst >= 1, fmt.Sprintf("the lowest is %.2f", worst))
	}
}

func (r *report) modes() {
	var lines strings.Builder
	for _, n := range []int{2, 3, 16} {
		for _, m := range modes[1:] {
			c, ok := r.find(cell{Kind: "modes", Stack: m.Name, Size: 64, Actors: n})
			if !ok || c.Base == 0 {
				continue
			}
			x := c.PerS / c.Base
			fmt.Fprintf(&lines, "| %d | %s | %.0f | %.0f | %.2f |\n", n, m.Name, c.PerS, c.Base, x)
			switch {
			case m.Name == "acked" && n == 2:
				r.verdict("64 B, two nodes: acked at least 0.7 of fifo", x >= 0.7, fmt.Sprintf("%.2f", x))
			case m.Name == "causal" && n == 3:
				r.verdict("64 B, three nodes: causal at least 0.8 of fifo", x >= 0.8, fmt.Sprintf("%.2f", x))
			}
		}
	}
	if lines.Len() > 0 {
		r.f("\n## Modes\n\n64 B one way, every node to all others in turn, all in one process, with TLS and no emulated link: messages a second that arrive, beside those on a channel of mode fifo in turn with it. "+
			"Of *latest*, with 1,000 keys towards each node, those that a newer one has superseded do not arrive.\n\n| nodes | mode | it | fifo | |\n|--:|---|--:|--:|--:|\n%s", lines.String())
	}
}

// loads is the highest load of the machine before a cell, where that is more
// than its cores.
func loads(done []cell) (most float64) {
	for _, c := range done {
		if c.Load > float64(runtime.NumCPU()) {
			most = max(most, c.Load)
		}
	}
	return most
}

func ratio(a, b cell) float64 {
	if b.PerS == 0 {
		return 0
	}
	return a.PerS / b.PerS
}

func times(a, b cell) string {
	if b.PerS == 0 {
		return "none came"
	}
	return fmt.Sprintf("%.1f×", a.PerS/b.PerS)
}

func verdict(what string, reached bool, seen string) string {
	word := "missed"
	if reached {
		word = "reached"
	}
	return fmt.Sprintf("| %s | %s | %s |\n", what, seen, word)
}

func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
