// Command channels measures what channels are for: large messages of many
// actors over links with a round trip (the cells of Partisan's evaluation), small
// messages and heartbeats beside them, compression, and what each mode costs.
//
// Each node is a process of its own. Between them is a link of internal/linkemu:
// network namespaces with the kernel's TCP, and delay, rate and buffer in user
// space. That needs root and /dev/net/tun; without them, or with -link proxy, a
// proxy of TCP on loopback takes its place. The stacks of a cell follow one
// another.
//
//	go run ./channels -out ../docs/results/channels.md   # some nine minutes
//	go run ./channels -only "512 KiB" -for 1s            # a quick look
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func main() {
	one := flag.String("cell", "", "internal: a cell as JSON")
	asNode := flag.String("node", "", "internal: a node as JSON")
	want := flag.String("link", "auto", "tun, proxy, or auto: tun where it can be had")
	cc := flag.String("cc", "", "congestion control of a tun link, as cubic; empty: the machine's")
	out := flag.String("out", "", "file for the tables, beside it .json; what another run put there stays")
	only := flag.String("only", "", "cells whose name contains this")
	length := flag.Duration("for", 2*time.Second, "length of a cell; some take a multiple")
	commit := flag.String("commit", "", "for the table's head")
	flag.Parse()
	if *want != "auto" && *want != "tun" && *want != "proxy" {
		check(fmt.Errorf("-link %q: use tun, proxy or auto", *want))
	}
	if *asNode != "" {
		check(runNode(*asNode))
		os.Exit(0)
	}
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
		c.Want = *want
		if c.CC == "" {
			c.CC = *cc
		}
		began := time.Now()
		got, err := c.process()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name(), err)
			continue
		}
		fmt.Fprintf(os.Stderr, "%-50s %10.1f /s  p50 %8.2f ms  p99 %8.2f ms  %s, processors %.2f (%v)\n", c.name(), got.PerS, got.P50, got.P99, got.Link.Kind, got.CPU, time.Since(began).Round(time.Second))
		if got.Kind == "beside" {
			fmt.Fprintf(os.Stderr, "\tbulk %.1f MB/s, %d beats, p50 %.2f ms, p99 %.2f ms, bare p50 %.2f p99 %.2f, %d suspicions, %+v\n", got.Bulks/1e6, got.Beats, got.BeatP50, got.BeatP99, got.BareP50, got.BareP99, got.Suspicions, got.Link)
		}
		done = append(without(done, c.name()), got)
	}
	report := tables(done, *commit)
	if *out == "" {
		fmt.Print(report)
		return
	}
	var lines []string // a cell each
	for _, c := range done {
		b, err := json.Marshal(c)
		check(err)
		lines = append(lines, string(b))
	}
	check(os.WriteFile(file, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644))
	check(os.WriteFile(*out, []byte(report), 0o644))
}

var (
	sizes  = []int{512 << 10, 8 << 20}
	rtts   = []time.Duration{time.Millisecond, 20 * time.Millisecond}
	actors = []int{16, 32, 64, 128}
	stacks = []string{"protoactor", "default", "16 lanes"}
)

// besides is what large messages travel on beside small ones: protoactor's one
// stream, or channels of ours without and with short queues.
var besides = []struct {
	on    string
	short bool
}{{"protoactor", false}, {"1 lane", false}, {"default", false}, {"1 lane", true}, {"default", true}}

// forSize is how long a cell with messages of a size takes: the first of many
// large ones must have come by half of it.
func forSize(size int, length time.Duration) time.Duration {
	if size > 1<<20 {
		return 2 * length
	}
	return length
}

// gigabit is the rate of a narrow line, in bytes a second.
const gigabit = 125_000_000

// buffers are those of a narrow line: 4 ms of its rate, and 20.
var buffers = []int{500_000, 2_500_000}

// cells are all measures.
func cells(length time.Duration) (list []cell) {
	for _, size := range sizes {
		for _, rtt := range rtts {
			for _, n := range actors {
				for _, stack := range stacks {
					list = append(list, cell{Kind: "matrix", Stack: stack, Size: size, RTT: rtt, Actors: n, For: forSize(size, length)})
				}
			}
		}
	}
	for _, size := range sizes {
		for _, n := range []int{16, 128} {
			for _, stack := range stacks {
				list = append(list, cell{Kind: "window", Stack: stack, Size: size, RTT: 20 * time.Millisecond, Actors: n, Window: window, For: forSize(size, length)})
			}
		}
	}
	for _, buffer := range buffers {
		for _, rtt := range rtts {
			for _, b := range besides {
				on := b.on
				c := cell{Kind: "beside", Stack: "urgent", On: on, Short: b.short, Size: 64, Bulk: 8 << 20, RTT: rtt, Rate: gigabit, Buffer: buffer, For: 5 * length}
				if on == "protoactor" {
					c.Stack = on
				}
				list = append(list, c)
			}
		}
	}
	for _, stack := range []string{"data", "s2"} {
		list = append(list, cell{Kind: "packed", Stack: stack, Size: 1024, RTT: time.Millisecond, Rate: gigabit, Buffer: 1 << 20, For: length})
	}
	for _, size := range sizes {
		for _, rtt := range rtts {
			for _, stack := range stacks {
				list = append(list, cell{Kind: "kvs", Stack: stack, Size: size, RTT: rtt, Actors: kvsActors, For: forSize(size, 2*length)})
			}
		}
	}
	for _, n := range []int{2, 3, 16} {
		for _, m := range modes[1:] {
			list = append(list, cell{Kind: "modes", Stack: m.Name, Size: 64, Actors: n, For: length})
		}
	}
	return list
}

func (c cell) name() string {
	name := fmt.Sprintf("%s %s %v %d %s", c.Kind, size(c.Size), c.RTT, c.Actors, c.Stack)
	if c.Kind == "beside" {
		name += fmt.Sprintf(" %s %d", c.On, c.Buffer)
		if c.Short {
			name += " short"
		}
	}
	return name
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

// load is the machine's load average of the last minute; 0 where nobody tells.
func load() (l float64) {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(b), &l)
	}
	return l
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
