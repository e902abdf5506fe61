// Command bench compares Maquis with protoactor's own remote: two processes a
// measure, stacks interleaved in one run, medians of several passes.
//
//	go run . -out ../docs/results/bench.md        # some fifteen minutes
//	go run . -passes 1 -duration 500ms -only 64   # a quick look
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// measures of a run, by name.
var measures = []struct {
	name   string
	p      params
	stacks []string
}{
	{"64 B one-way x16, protobuf", params{kind: "oneway", size: 64, senders: 16}, withRaw},
	{"64 B one-way x16, VT", params{kind: "oneway", size: 64, senders: 16, vt: true}, all},
	{"64 B one-way x1, protobuf", params{kind: "oneway", size: 64, senders: 1}, withRaw},
	{"64 B one-way x1, VT", params{kind: "oneway", size: 64, senders: 1, vt: true}, all},
	{"1 KiB one-way x16, protobuf", params{kind: "oneway", size: 1 << 10, senders: 16}, withRaw},
	{"1 KiB one-way x1, protobuf", params{kind: "oneway", size: 1 << 10, senders: 1}, withRaw},
	{"64 KiB one-way x16, protobuf", params{kind: "oneway", size: 64 << 10, senders: 16}, withRaw},
	{"64 KiB one-way x16, protobuf, 4 lanes", params{kind: "oneway", size: 64 << 10, senders: 16, channel: "lanes"}, all},
	{"64 KiB one-way x1, protobuf", params{kind: "oneway", size: 64 << 10, senders: 1}, withRaw},
	{"1 outstanding, future, protobuf", params{kind: "request", size: 64, senders: 1}, withRaw},
	{"1 outstanding, future, VT", params{kind: "request", size: 64, senders: 1, vt: true}, all},
	{"16 outstanding, futures, protobuf", params{kind: "request", size: 64, senders: 16}, withRaw},
	{"16 outstanding, futures, VT", params{kind: "request", size: 64, senders: 16, vt: true}, all},
	{"256 outstanding, futures, protobuf", params{kind: "request", size: 64, senders: 256}, withRaw},
	{"256 outstanding, futures, VT", params{kind: "request", size: 64, senders: 256, vt: true}, all},
	{"256 outstanding, Call (protoactor: futures)", params{kind: "call", size: 64, senders: 256}, all},
	{"64 B ping beside 1 MiB bulk", params{kind: "ping", size: 64, senders: 1}, all},
}

var (
	all     = []string{"protoactor", "maquis-insecure", "maquis"}
	withRaw = []string{"protoactor", "maquis-insecure", "maquis", "raw TCP"}
)

func main() {
	role := flag.String("role", "", "internal: server or client")
	stack := flag.String("stack", "", "internal")
	index := flag.Int("measure", 0, "internal")
	addr := flag.String("addr", "", "internal")
	out := flag.String("out", "", "file for the table, beside it .json")
	passes := flag.Int("passes", 5, "passes; the median counts")
	duration := flag.Duration("duration", 2*time.Second, "of one measure")
	only := flag.String("only", "", "measures whose name contains this")
	judged := flag.String("judge", "", "print the targets of an earlier run, from its .json")
	profile := flag.String("cpuprofile", "", "internal: of a server or client")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		check(err)
		check(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	if *judged != "" {
		var rows []row
		b, err := os.ReadFile(*judged)
		check(err)
		check(json.Unmarshal(b, &rows))
		fmt.Print(judge(rows))
		return
	}
	switch *role {
	case "server":
		if *stack == "raw TCP" {
			check(rawServe())
			return
		}
		p := measures[*index].p
		n, err := start(*stack, "", p.size)
		check(err)
		serve(n)
		fmt.Println(n.addr)
		bufio.NewReader(os.Stdin).ReadString('\n')
	case "client":
		p := measures[*index].p
		p.duration = *duration
		if *stack == "raw TCP" {
			r, err := rawRun(*addr, p)
			check(err)
			check(json.NewEncoder(os.Stdout).Encode(r))
			return
		}
		if *stack == "protoactor" && p.kind == "call" {
			p.kind = "request"
		}
		n, err := start(*stack, *addr, p.size)
		check(err)
		check(json.NewEncoder(os.Stdout).Encode(run(n, p)))
	default:
		compare(*passes, *duration, *only, *out)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// once takes one measure of one stack in two fresh processes.
func once(i int, stack string, d time.Duration) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	idx := fmt.Sprint(i)
	server := exec.Command(self, "-role", "server", "-stack", stack, "-measure", idx)
	in, err := server.StdinPipe()
	if err != nil {
		return result{}, err
	}
	pipe, err := server.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return result{}, err
	}
	defer func() { _ = in.Close(); _ = server.Wait() }()
	s := bufio.NewScanner(pipe)
	if !s.Scan() {
		return result{}, fmt.Errorf("the server of %s said nothing", stack)
	}
	client := exec.Command(self, "-role", "client", "-stack", stack, "-measure", idx, "-addr", s.Text(), "-duration", d.String())
	client.Stderr = os.Stderr
	b, err := client.Output()
	if err != nil {
		return result{}, fmt.Errorf("the client of %s: %w", stack, err)
	}
	var r result
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	_ = in.Close()
	_ = server.Wait()
	cpu := client.ProcessState.UserTime() + client.ProcessState.SystemTime() + server.ProcessState.UserTime() + server.ProcessState.SystemTime()
	if r.Messages > 0 {
		r.CPUus = float64(cpu.Microseconds()) / float64(r.Messages)
	}
	return r, nil
}

// row is one line of the table.
type row struct {
	Measure string  `json:"measure"`
	Stack   string  `json:"stack"`
	Rate    float64 `json:"per_s"`
	CPUus   float64 `json:"cpu_us"`
	P50us   float64 `json:"p50_us"`
	P99us   float64 `json:"p99_us"`
	MBs     float64 `json:"mb_s"`
}

func compare(passes int, d time.Duration, only, out string) {
	var rows []row
	for i, m := range measures {
		if !strings.Contains(m.name, only) {
			continue
		}
		got := make(map[string][]result)
		for pass := range passes {
			for k := range m.stacks {
				stack := m.stacks[(k+pass)%len(m.stacks)] // interleaved, nobody always first
				r, err := once(i, stack, d)
				if err != nil {
					fmt.Fprintln(os.Stderr, "bench:", err)
					continue
				}
				got[stack] = append(got[stack], r)
			}
		}
		for _, stack := range m.stacks {
			rs := got[stack]
			if len(rs) == 0 {
				continue
			}
			rows = append(rows, row{
				Measure: m.name, Stack: stack,
				Rate:  median(rs, func(r result) float64 { return float64(r.Messages) / max(r.Seconds, 1e-9) }),
				CPUus: median(rs, func(r result) float64 { return r.CPUus }),
				P50us: median(rs, func(r result) float64 { return r.P50us }),
				P99us: median(rs, func(r result) float64 { return r.P99us }),
				MBs:   median(rs, func(r result) float64 { return r.BulkMBs }),
			})
			fmt.Fprintf(os.Stderr, "%s %s %.0f/s\n", m.name, stack, rows[len(rows)-1].Rate)
		}
	}
	table := render(rows, passes, d) + judge(rows)
	fmt.Print(table)
	if out != "" {
		check(os.WriteFile(out, []byte(table), 0o644))
		b, _ := json.MarshalIndent(rows, "", " ")
		check(os.WriteFile(strings.TrimSuffix(out, ".md")+".json", append(b, '\n'), 0o644))
	}
}

func median(rs []result, f func(result) float64) float64 {
	v := make([]float64, len(rs))
	for i, r := range rs {
		v[i] = f(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// render makes the table: absolute figures, and in parentheses the ratio to
// protoactor in the same run.
func render(rows []row, passes int, d time.Duration) string {
	var b strings.Builder
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(&b, "# Beside protoactor's remote\n\n`cd bench && go run . -passes %d -duration %v`, commit %s, %s, %d CPUs. Two processes on loopback; medians; ratios to\nprotoactor's remote (insecure gRPC, tuned) in the same run in parentheses. `maquis` is the default: TLS, sequence numbers, metrics on.\n\n",
		passes, d, strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU())
	b.WriteString("| measure | stack | per second | CPU µs | p50 µs | p99 µs | MB/s |\n|---|---|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		base := row{}
		for _, k := range rows {
			if k.Measure == r.Measure && k.Stack == "protoactor" {
				base = k
			}
		}
		cell := func(v, of float64, format string) string {
			if v == 0 {
				return ""
			}
			if r.Stack == "protoactor" || of == 0 {
				return fmt.Sprintf(format, v)
			}
			return fmt.Sprintf(format+" (%.2f)", v, v/of)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Measure, r.Stack, cell(r.Rate, base.Rate, "%.0f"), cell(r.CPUus, base.CPUus, "%.2f"),
			cell(r.P50us, base.P50us, "%.0f"), cell(r.P99us, base.P99us, "%.0f"), cell(r.MBs, base.MBs, "%.0f"))
	}
	return b.String()
}
