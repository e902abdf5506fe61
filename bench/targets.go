package main

import (
	"fmt"
	"strings"
)

// target is a bound on a measure: on its ratio to protoactor's, or with
// absolute on the figure itself.
type target struct {
	measure, stack string
	metric         string // per_s, cpu_us, p50_us, p99_us, mb_s
	atLeast        bool
	bound          float64
	absolute       bool
}

// targets are what the project has set itself.
var targets = []target{
	{"64 B one-way x16, protobuf", "maquis-insecure", "per_s", true, 2, false},
	{"64 B one-way x16, protobuf", "maquis-insecure", "cpu_us", false, 0.48, false},
	{"64 B one-way x16, protobuf", "maquis", "per_s", true, 1.9, false},
	{"64 B one-way x16, protobuf", "maquis", "cpu_us", false, 0.5, false},
	{"64 B one-way x16, VT", "maquis-insecure", "per_s", true, 3, false},
	{"64 B one-way x16, VT", "maquis-insecure", "cpu_us", false, 0.32, false},
	{"64 B one-way x16, VT", "maquis", "per_s", true, 2.4, false},
	{"64 B one-way x16, VT", "maquis", "cpu_us", false, 0.40, false},
	{"1 outstanding, future, VT", "maquis-insecure", "p50_us", false, 0.5, false},
	{"1 outstanding, future, protobuf", "maquis-insecure", "p50_us", false, 0.55, false},
	{"1 outstanding, future, VT", "maquis", "p50_us", false, 0.65, false},
	{"1 outstanding, future, protobuf", "maquis", "p50_us", false, 0.65, false},
	{"256 outstanding, futures, VT", "maquis-insecure", "per_s", true, 1.2, false},
	{"256 outstanding, futures, protobuf", "maquis-insecure", "per_s", true, 1.0, false},
	{"256 outstanding, futures, protobuf", "maquis", "per_s", true, 1.0, false},
	{"256 outstanding, Call (protoactor: futures)", "maquis-insecure", "per_s", true, 1.8, false},
	{"256 outstanding, Call (protoactor: futures)", "maquis", "per_s", true, 1.4, false},
	{"64 KiB one-way x1, protobuf", "maquis-insecure", "mb_s", true, 1.1, false},
	{"64 KiB one-way x16, protobuf, 4 lanes", "maquis-insecure", "mb_s", true, 1.5, false},
	{"64 B ping beside 1 MiB bulk", "maquis-insecure", "p50_us", false, 500, true},
	{"64 B ping beside 1 MiB bulk", "maquis-insecure", "p99_us", false, 6000, true},
	{"64 B ping beside 1 MiB bulk", "maquis-insecure", "mb_s", true, 0.9, false},
	{"64 B ping beside 1 MiB bulk", "maquis", "p50_us", false, 500, true},
	{"64 B ping beside 1 MiB bulk", "maquis", "p99_us", false, 8000, true},
	{"64 B ping beside 1 MiB bulk", "maquis", "mb_s", true, 0.75, false},
}

func (r row) metric(name string) float64 {
	switch name {
	case "per_s":
		return r.Rate
	case "cpu_us":
		return r.CPUus
	case "p50_us":
		return r.P50us
	case "p99_us":
		return r.P99us
	}
	return r.MBs
}

// judge says which targets the rows reach.
func judge(rows []row) string {
	find := func(measure, stack string) (row, bool) {
		for _, r := range rows {
			if r.Measure == measure && r.Stack == stack {
				return r, true
			}
		}
		return row{}, false
	}
	var b strings.Builder
	b.WriteString("\n## Targets\n\nRatios to protoactor's remote unless a unit is said.\n\n| measure | stack | figure | target | seen | |\n|---|---|---|--:|--:|---|\n")
	for _, t := range targets {
		r, ok := find(t.measure, t.stack)
		base, have := find(t.measure, "protoactor")
		if !ok || !have {
			continue
		}
		seen, unit := r.metric(t.metric), ""
		if t.absolute {
			unit = " µs"
		} else {
			seen /= max(base.metric(t.metric), 1e-9)
		}
		sign, reached := "≤", seen <= t.bound
		if t.atLeast {
			sign, reached = "≥", seen >= t.bound
		}
		verdict := "missed"
		if reached {
			verdict = "reached"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s %g%s | %.2f%s | %s |\n", t.measure, t.stack, t.metric, sign, t.bound, unit, seen, unit, verdict)
	}
	return b.String()
}
