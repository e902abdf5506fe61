package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// scaleRow is a figure of demo scale beside its bound.
type scaleRow struct {
	what, seen, bound string
	within            bool
}

func (r scaleReport) rows() []scaleRow {
	atMost := func(what, format string, v, bound float64) scaleRow {
		return scaleRow{what, fmt.Sprintf(format, v), "≤ " + fmt.Sprintf(format, bound), v <= bound}
	}
	all := func(what string, got, want int) scaleRow {
		return scaleRow{what, fmt.Sprintf("%d of %d", got, want), "all", got == want}
	}
	const forming = "all know all, from the first start"
	rows := []scaleRow{atMost(forming, "%.1f s", r.FormedS, 60)}
	if r.AtOnce { // then it is a matter of handshakes, whose number no cluster chooses
		rows[0] = scaleRow{forming + ", at once", fmt.Sprintf("%.1f s", r.FormedS), "one cluster", true}
	}
	if r.Overlay != "fullmesh" {
		rows = append(rows, atMost("links of a node at rest, most", "%.0f", r.Links.Max, 8))
	}
	rows = append(rows,
		scaleRow{"links of a node at rest, mean", fmt.Sprintf("%.2f", r.Links.Mean), "", true},
		atMost("all processes at rest", "%.2f cores", r.CPU, 1),
		atMost("sent at rest, by a node", "%.0f bytes/s", r.BytesPerNodeS, 1024),
		atMost("heap and stacks of a node, beyond an empty actor system", "%.2f MiB", r.HeapPerNode/(1<<20), 1),
		all("requests between random nodes that were answered", r.Pairs, r.PairsAsked),
		scaleRow{"their time there and back, median, p99", fmt.Sprintf("%.1f ms, %.1f ms", r.PairMS.P50, r.PairMS.P99), "", true},
		scaleRow{"frames that relays passed on, for each", fmt.Sprintf("%.2f", r.RelaysPerMessage), "", true},
		all("nodes that a broadcast reached", r.BroadcastReached, r.Nodes),
		atMost("its time, p99", "%.0f ms", r.BroadcastMS.P99, 1000),
		atMost("a process of one node is killed: known to all", "%.1f s", r.KilledKnownS, 10),
	)
	if r.MassKilled > 0 {
		left := r.Nodes - 1 - r.MassKilled
		rows = append(rows,
			atMost(fmt.Sprintf("%d nodes are killed at once: the others' rosters are exact", r.MassKilled), "%.1f s", r.MassExactS, 15),
			all("survivors that the next broadcast reached", r.MassReached, left),
		)
	}
	return rows
}

// write puts the report into a file.
func (r scaleReport) write(path, command, commit string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d real nodes on one machine\n\n`%s`, commit %s, %s, %d cores, %d processes, TLS.\n\n", r.Nodes, command, commit, runtime.Version(), runtime.NumCPU(), r.Processes)
	b.WriteString("| what | seen | bound | |\n|---|---|---|---|\n")
	for _, row := range r.rows() {
		verdict := "reached"
		switch {
		case row.bound == "":
			verdict = ""
		case !row.within:
			verdict = "missed"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.what, row.seen, row.bound, verdict)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
