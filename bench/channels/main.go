// Command channels measures what channels are for: large messages of many
// actors over links with a round trip (the cells of Partisan's evaluation), a
// small message beside them, compression, and what each mode costs. Each cell is a process of its own
// with both nodes in it, and an emulated link between them; the stacks of a cell
// follow one another.
//
//	go run ./channels -out ../docs/results/channels.md   # some seven minutes
//	go run ./channels -only 512 -for 1s                  # a quick look
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	one := flag.String("cell", "", "internal: a cell as JSON")
	out := flag.String("out", "", "file for the tables, beside it .json; what another run put there stays")
	only := flag.String("only", "", "cells whose name contains this")
	length := flag.Duration("for", 3*time.Second, "length of a cell")
	commit := flag.String("commit", "", "for the table's head")
	flag.Parse()
	if *one != "" {
		var c cell
		check(json.Unmarshal([]byte(*one), &c))
		check(c.run())
		check(json.NewEncoder(os.Stdout).Encode(c))
		os.Exit(0) // what is still on its way does not matter
	}
	var done []cell
	file := strings.TrimSuffix(*out, ".md") + ".json"
	if b, err := os.ReadFile(file); err == nil && *out != "" {
		check(json.Unmarshal(b, &done))
	}
	for _, c := range cells(*length) {
		if !strings.Contains(c.name(), *only) {
			continue
		}
		began := time.Now()
		got, err := c.process()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name(), err)
			continue
		}
		fmt.Fprintf(os.Stderr, "%-50s %10.1f /s  p50 %8.2f ms  p99 %8.2f ms  (%v)\n", c.name(), got.PerS, got.P50, got.P99, time.Since(began).Round(time.Second))
		done = append(without(done, c.name()), got)
	}
	report := tables(done, *commit)
	if *out == "" {
		fmt.Print(report)
		return
	}
	b, err := json.MarshalIndent(done, "", " ")
	check(err)
	check(os.WriteFile(file, b, 0o644))
	check(os.WriteFile(*out, []byte(report), 0o644))
}

// cells are all measures.
func cells(length time.Duration) (list []cell) {
	for _, size := range []int{512 << 10, 8 << 20} {
		for _, rtt := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
			for _, actors := range []int{16, 32, 64, 128} {
				for _, stack := range []string{"protoactor", "1 lane", "16 lanes"} {
					list = append(list, cell{Kind: "matrix", Stack: stack, Size: size, RTT: rtt, Actors: actors, For: length})
				}
			}
		}
	}
	for _, rtt := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		list = append(list, cell{Kind: "beside", Stack: "urgent", Size: 64, RTT: rtt, Rate: 125 << 20, For: 2 * length})
	}
	for _, stack := range []string{"data", "s2"} {
		list = append(list, cell{Kind: "packed", Stack: stack, Size: 1024, RTT: time.Millisecond, Rate: 125_000_000, For: length})
	}
	for _, n := range []int{2, 3, 16} {
		for _, m := range modes[1:] {
			list = append(list, cell{Kind: "modes", Stack: m.Name, Size: 64, Actors: n, For: length})
		}
	}
	return list
}

func (c cell) name() string {
	return fmt.Sprintf("%s %s %d B %v %d %s", c.Kind, size(c.Size), c.Size, c.RTT, c.Actors, c.Stack)
}

func without(list []cell, name string) (rest []cell) {
	for _, c := range list {
		if c.name() != name {
			rest = append(rest, c)
		}
	}
	return rest
}

// process runs a cell in a process of its own.
func (c cell) process() (cell, error) {
	c.Load = load()
	b, err := json.Marshal(c)
	check(err)
	cmd := exec.Command(os.Args[0], "-cell", string(b))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(out, &c)
}

// tables writes what was seen.
func tables(done []cell, commit string) string {
	find := func(kind, stack string, size int, rtt time.Duration, actors int) (cell, bool) {
		for _, c := range done {
			if c.Kind == kind && c.Stack == stack && c.Size == size && c.RTT == rtt && c.Actors == actors {
				return c, true
			}
		}
		return cell{}, false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Channels under load\n\nWritten by `make bench-channels` at commit %s, %s on %s/%s, %d cores, both nodes and the emulated link in one process. Not edited by hand.\n\n",
		commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if load := loads(done); load > 0 {
		fmt.Fprintf(&b, "The machine was not alone: its load was up to %.0f while the cells ran, so that absolute figures, and what several links at once can reach, are below what it does when quiet.\n\n", load)
	}
	fmt.Fprintf(&b, "The link is a proxy of TCP: bytes arrive half a round trip after they were sent; a connection has at most %d KiB on their way, each for one round trip.\n", window>>10)
	b.WriteString("Ours runs with TLS, protoactor's remote without, as it comes but for its limit of 4 MiB on a message and batches that fit in one.\n\n")
	b.WriteString("## Messages of many actors\n\nEach actor sends a message to one of its own on the other node, waits for a short answer, and so on. Messages a second, and as a multiple of protoactor's.\n\n")
	b.WriteString("| message | round trip | actors | protoactor | ours, 1 lane | | ours, 16 lanes | | p50 of that, ms |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	var verdicts []string
	worst := 0.0
	for _, sz := range []int{512 << 10, 8 << 20} {
		for _, rtt := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
			for _, actors := range []int{16, 32, 64, 128} {
				pa, ok1 := find("matrix", "protoactor", sz, rtt, actors)
				o, ok2 := find("matrix", "1 lane", sz, rtt, actors)
				w, ok3 := find("matrix", "16 lanes", sz, rtt, actors)
				if !ok1 || !ok2 || !ok3 {
					continue
				}
				fmt.Fprintf(&b, "| %s | %v | %d | %.1f | %.1f | %s | %.1f | %s | %.1f |\n", size(sz), rtt, actors, pa.PerS, o.PerS, times(o, pa), w.PerS, times(w, pa), w.P50)
				r := ratio(w, pa)
				if worst == 0 || r < worst {
					worst = r
				}
				switch {
				case sz == 512<<10 && rtt == 20*time.Millisecond && actors == 128:
					verdicts = append(verdicts, verdict("512 KiB, 20 ms, 128 actors: 16 lanes at least 13 times protoactor's", r >= 13, times(w, pa)))
				case sz == 8<<20 && rtt == 20*time.Millisecond && actors == 16:
					verdicts = append(verdicts, verdict("8 MiB, 20 ms, 16 actors: 16 lanes at least 30 times protoactor's", r >= 30, times(w, pa)))
				}
			}
		}
	}
	if worst > 0 {
		verdicts = append(verdicts, verdict("no cell of 16 lanes below protoactor's", worst >= 1, fmt.Sprintf("the lowest is %.2f", worst)))
	}
	b.WriteString("\n## A small message beside large ones\n\n64 B on a channel of high priority there and back, while 16 actors send 8 MiB each over 16 lanes of another channel, on a line of 1 Gbit/s.\n\n| round trip | p50, ms | p99, ms | round trips |\n|---|--:|--:|--:|\n")
	for _, rtt := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		if c, ok := find("beside", "urgent", 64, rtt, 0); ok {
			fmt.Fprintf(&b, "| %v | %.2f | %.2f | %.0f |\n", rtt, c.P50, c.P99, c.PerS*c.For.Seconds())
			bound := float64(rtt)/1e6 + 5
			verdicts = append(verdicts, verdict(fmt.Sprintf("64 B beside 8 MiB at %v: p99 at most %.0f ms", rtt, bound), c.P99 <= bound, fmt.Sprintf("%.2f ms", c.P99)))
		}
	}
	plain, ok1 := find("packed", "data", 1024, time.Millisecond, 0)
	packed, ok2 := find("packed", "s2", 1024, time.Millisecond, 0)
	if ok1 && ok2 {
		b.WriteString("\n## Compression\n\nText of 1 KiB one way on a line of 1 Gbit/s and 1 ms, messages a second.\n\n| none | s2 | |\n|--:|--:|--:|\n")
		fmt.Fprintf(&b, "| %.0f | %.0f | %s |\n", plain.PerS, packed.PerS, times(packed, plain))
		verdicts = append(verdicts, verdict("s2 at least 1.5 times as many", ratio(packed, plain) >= 1.5, times(packed, plain)))
	}
	var lines strings.Builder
	for _, n := range []int{2, 3, 16} {
		for _, m := range modes[1:] {
			c, ok := find("modes", m.Name, 64, 0, n)
			if !ok || c.Base == 0 {
				continue
			}
			r := c.PerS / c.Base
			fmt.Fprintf(&lines, "| %d | %s | %.0f | %.0f | %.2f |\n", n, m.Name, c.PerS, c.Base, r)
			switch {
			case m.Name == "acked" && n == 2:
				verdicts = append(verdicts, verdict("64 B, two nodes: acked at least 0.7 of fifo", r >= 0.7, fmt.Sprintf("%.2f", r)))
			case m.Name == "causal" && n == 3:
				verdicts = append(verdicts, verdict("64 B, three nodes: causal at least 0.8 of fifo", r >= 0.8, fmt.Sprintf("%.2f", r)))
			}
		}
	}
	if lines.Len() > 0 {
		b.WriteString("\n## Modes\n\n64 B one way, every node to all others in turn, with TLS and no emulated link: messages a second that arrive, beside those on a channel of mode fifo in turn with it. " +
			"Of *latest*, with 1,000 keys towards each node, those that a newer one has superseded do not arrive.\n\n| nodes | mode | it | fifo | |\n|--:|---|--:|--:|--:|\n" + lines.String())
	}
	b.WriteString("\n## Targets\n\n| target | seen | |\n|---|--:|---|\n" + strings.Join(verdicts, ""))
	return b.String()
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

// load is the machine's load average of the last minute; 0 where nobody tells.
func load() (l float64) {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(b), &l)
	}
	return l
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

// freeAddr is a port of loopback that was free just now.
func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func split(addr string) (host string, port int) {
	host, p, err := net.SplitHostPort(addr)
	check(err)
	port, err = strconv.Atoi(p)
	check(err)
	return host, port
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
